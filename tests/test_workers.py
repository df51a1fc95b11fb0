import threading

from dr.workers import Done, Job, Threads


def test_each_job_has_a_thread_of_its_own_and_results_come_as_they_are_ready() -> None:
    first_may_end = threading.Event()
    threads = Threads()
    slow = Job("slow", lambda: first_may_end.wait(30) and threading.current_thread().name)
    fast = Job("fast", lambda: threading.current_thread().name)
    threads.submit(slow)
    threads.submit(fast)

    assert threads.next(30) == Done(fast, "fast")
    assert threads.next(0) is None
    first_may_end.set()
    assert threads.next(30) == Done(slow, "slow")


def test_a_job_that_hangs_does_not_keep_the_process_from_ending() -> None:
    """Its thread is a daemon: a dead target must not hold a process that has nothing left to do."""
    seen: list[bool] = []
    threads = Threads()
    threads.submit(Job("hung", lambda: seen.append(threading.current_thread().daemon)))
    threads.next(30)
    assert seen == [True]
