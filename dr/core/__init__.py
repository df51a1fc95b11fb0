"""The pure heart of `dr`: no clock, no randomness, no input or output.

The safety list. Each rule is cited by number in the test that guards it.

 1. No effect without a durable intent: the entry is on stable storage before the target is touched.
 2. Neither an error nor a success is proof. Only an observation, or an operator's recorded ruling, ends doubt.
 3. Silence is doubt, never failure: a timeout, a lost connection, a dead orchestrator leave the step in doubt.
 4. A step with no way to observe says so in the plan, and its doubt goes to the operator.
 5. Exactly the steps that were (maybe) applied are compensated, in reverse order; the steady state is checked after.
 6. Nothing is undone past the point of no return; the operator is asked instead.
 7. One writer: every append takes its sequence number by create-only write; a second writer is refused and stops.
    Locks end by release or by a recorded take-over, never by a timer alone.
 8. A write whose fate is unknown stops the process; start-up decides by reading what is there.
 9. A planned (graceful) operation refuses before touching anything if a precondition fails.
10. Fence before promote. Two writable primaries is the state no sequence of faults may reach.
11. The plan is pinned by digest. An edited runbook never changes a running run.
12. The default on failure is to pause and say what stands; an override is explicit, named, and itself an entry.
13. No secret value reaches an entry, a log line, a report, a process title or an exception text.
14. Verification is apart from execution: recovery time ends when the steady state has held, not when the last step
    returned.
15. Everything has a limit: attempts, seconds, entries, bytes of captured output, file size of a runbook.
"""
