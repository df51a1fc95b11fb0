"""The outage of 15 May 2023, recreated with real parts and recovered."""
