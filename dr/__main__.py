"""`python -m dr` is the `dr` command."""

from dr.cli.main import main

if __name__ == "__main__":
    main()
