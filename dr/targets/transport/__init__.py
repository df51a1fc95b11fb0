"""How bytes get to the targets and back, each within a deadline: shared by technologies, knowing none of them."""
