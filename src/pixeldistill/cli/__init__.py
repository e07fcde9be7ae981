"""The command line."""


def main() -> None:
    """Run the program. This is its entry point."""
    from pixeldistill.cli.app import main as run

    run()
