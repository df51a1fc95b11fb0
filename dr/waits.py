"""How long to wait before the next attempt, drawn with tenacity's strategies and then recorded by the engine."""

from dr.core.runbook import Retry


def draw_wait(retry: Retry, attempt: int) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) failed."""
    import tenacity  # here and not above: it pulls in asyncio (50 ms), and most runs never wait

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    wait = (
        tenacity.wait_fixed(float(retry.wait))
        if retry.strategy == "fixed"
        else tenacity.wait_exponential(multiplier=float(retry.wait), max=float(retry.max))
    )
    return float((wait + tenacity.wait_random(0, float(retry.jitter)))(state))
