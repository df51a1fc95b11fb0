"""AWS on this machine: how LocalStack is installed, started and filled, for tests and for people.

    install.py    the newest release this machine has a Python for, into a virtual environment of its own
    launcher.py   the program in that environment: LocalStack, kept to this machine
    instance.py   starts, freezes, thaws and stops one, for a test or for a person
    __main__.py   `make localstack`
    init/         what it is filled with; compose.yaml runs the same scripts in Docker

Upstream's package has the same name. It lives in its own virtual environment, where this one cannot be seen, and is
never imported here.
"""
