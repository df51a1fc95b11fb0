import pytest

from dr.core.secret import HOW_TO_WRITE, check_reference, is_reference


@pytest.mark.parametrize(
    "text",
    [
        "env:PASSWORD",
        "file:/run/secrets/password",
        "file:~/a b",
        "env:x",
        "aws-secret:shop#password",
        "ssm:/shop/token",
    ],
)
def test_a_reference_says_where_a_secret_stands(text: str) -> None:
    assert is_reference(text)
    check_reference("password", text)


@pytest.mark.parametrize(
    "text",
    ["hunter2", "", "env:", "file:", "env: X", "ENV:X", "vault:x", "ssm:", "aws:x", "xenv:A", "env:\nA", "env:A\nB"],
)
def test_a_literal_is_refused_and_never_repeated(text: str) -> None:
    """Safety rule 13: the message names the field, for the text may be the secret."""
    assert not is_reference(text)
    with pytest.raises(ValueError, match=r"^password: ") as refused:
        check_reference("password", text)
    assert str(refused.value) == f"password: {HOW_TO_WRITE}"
