"""The other tools' side of the benchmarks; run by the interpreter of build/peers-venv."""
