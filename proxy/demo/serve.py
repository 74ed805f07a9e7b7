"""The old name of `proxy.simulators.serve`, which compose files run."""

from proxy.simulators.serve import main

if __name__ == "__main__":
    main()
