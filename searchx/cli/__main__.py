"""``python -m searchx.cli``: the commands without the installed script, as torchrun wants it."""

from searchx.cli import main

if __name__ == "__main__":
    main()
