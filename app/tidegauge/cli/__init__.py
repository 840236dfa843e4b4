"""The command `tidegauge`: flags, environment variables, help, exit status.

A command reads its flags and hands over; what it does lies in the package it is about, which is imported only when the
command runs, so that `tidegauge --help` is quick. May use every package. Begin with ``main.py``; ``options.py`` has what all
commands' flags share, and the larger commands have a file each (``console_command.py``, ``report_command.py``,
``bridge_commands.py``).
"""
