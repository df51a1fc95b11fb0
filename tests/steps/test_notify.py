"""Topics are LocalStack's, with a queue that shows what came; everybody else is apprise and a real HTTP service."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from dr.core.step import InPlace, NotInPlace
from dr.steps.notify import Notify
from dr.targets.apprise_url import Apprise
from dr.targets.protocols import TargetUnreachable
from dr.targets.sns import Sns
from dr.targets.transport import receipts
from localstack.instance import REGION, LocalStack
from tests.here import RUN, World, opened
from tests.proxy import Fault, Proxy
from tests.service import Service, service
from tests.topic import Topic

NOTE = Notify(via="people", subject="Reads have moved", text="They go to the standby now.")


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Each test stands for a process of its own."""
    yield
    receipts._receipts.clear()


def world(topic: Topic, endpoint: str) -> World:
    return World({"people": Sns(region=REGION, endpoint=endpoint, topic=topic.arn)})


@pytest.mark.usefixtures("aws_credentials")
class TestSns:
    def test_subscribers_are_told_and_the_receipt_is_what_proves_it(self, localstack: LocalStack) -> None:
        topic = Topic(localstack)
        people = world(topic, localstack.endpoint)
        with people.look() as here:
            assert NOTE.observe(here) == NotInPlace()
        with people.act() as here:
            receipt = NOTE.apply(here)
        with people.act() as here:
            assert NOTE.observe(here) == InPlace(receipt)
        [came] = topic.came()
        assert came["MessageId"] == receipt["message"]
        assert came["Subject"] == "Reads have moved"
        assert came["Message"] == f"They go to the standby now.\n\n-- \nrun {RUN}, step step"

    def test_a_message_that_was_not_taken_is_not_told(self, localstack: LocalStack) -> None:
        topic = Topic(localstack)
        with Proxy(localstack.endpoint) as proxy:
            proxy.on(Fault.RESET_IN_BODY, nth=(1,))
            people = world(topic, proxy.endpoint)
            with people.act() as here:
                with pytest.raises(TargetUnreachable):
                    NOTE.apply(here)
                assert NOTE.observe(here) == NotInPlace()
        assert topic.came() == []

    def test_a_fifo_topic_delivers_once_what_is_sent_again_after_a_crash(self, localstack: LocalStack) -> None:
        topic = Topic(localstack, fifo=True)
        people = world(topic, localstack.endpoint)
        with people.act() as here:
            NOTE.apply(here)
        receipts._receipts.clear()  # the process died
        with people.act() as here:
            assert NOTE.observe(here) == NotInPlace()
            NOTE.apply(here)
        assert len(topic.came()) == 1

    def test_a_subject_that_sns_refuses_stands_in_the_text(self, localstack: LocalStack) -> None:
        topic = Topic(localstack)
        with world(topic, localstack.endpoint).act() as here:
            msgspec.structs.replace(NOTE, subject="Lesezugriffe für heute").apply(here)
        [came] = topic.came()
        assert came["Subject"] == "Lesezugriffe f?r heute"
        assert came["Message"].startswith("Lesezugriffe für heute\n\n")

    def test_a_topic_that_is_not_there_is_found_before_the_run(self, localstack: LocalStack) -> None:
        arn = Topic(localstack).arn + "-not"
        config = Sns(region=REGION, endpoint=localstack.endpoint, topic=arn)
        with opened(config) as topic, pytest.raises(LookupError, match="NotFound"):
            topic.ping()

    def test_a_topic_of_another_region_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not in eu-central-1"):
            Sns(region="eu-central-1", topic="arn:aws:sns:eu-west-1:000000000000:people")


@pytest.fixture
def chat() -> Iterator[Service]:
    with service() as serving:
        yield serving


def chat_world(chat: Service) -> World:
    url = chat.url.replace("http://", "json://user:s3cr3t@")
    return World({"people": Apprise(url="env:CHAT")}, {"env:CHAT": f"{url}/hook"})


def test_everybody_else_is_told_by_an_address_of_apprise(chat: Service) -> None:
    people = chat_world(chat)
    with people.act() as here:
        assert NOTE.apply(here) == {"taken": True}
        assert NOTE.observe(here) == InPlace({"taken": True})
    told = json.loads(chat.kept["/hook"])
    assert told["title"] == "Reads have moved"
    assert told["message"].startswith("They go to the standby now.")


def test_a_chat_that_refuses_is_told_without_its_address(
    chat: Service, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Safety rule 13: the address holds the token."""
    chat.answers = [500]
    with chat_world(chat).act() as here:
        with pytest.raises(TargetUnreachable, match="people: the service behind env:CHAT did not") as refused:
            NOTE.apply(here)
        assert NOTE.observe(here) == NotInPlace()
    assert "s3cr3t" not in str(refused.value)
    assert (caplog.text, capfd.readouterr()) == ("", ("", ""))


def test_an_address_that_apprise_does_not_know_is_refused_unseen() -> None:
    people = World({"people": Apprise(url="env:CHAT")}, {"env:CHAT": "carrier-pigeon://s3cr3t"})
    with people.look() as here, pytest.raises(LookupError, match="env:CHAT") as refused:
        NOTE.observe(here)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"subject": ""}, {"subject": "two\nlines"}, {"text": ""}, {"subject": "x" * 101}])
def test_a_message_that_cannot_be_sent_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"via": "people", "subject": "a", "text": "b", **wrong}, Notify)
