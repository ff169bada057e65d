"""How a check is made and told. One that fails is told and counted, and its subject goes on: a run tells all that is wrong."""

import traceback
from pathlib import Path

from harborapi.exceptions import StatusError


class Checks:
    def __init__(self, subject):
        self.subject = subject
        self.made = 0
        self.failed = 0

    def same(self, what, found, wanted):
        self.holds(what, found == wanted, f"found {found!r}, wanted {wanted!r}")

    def holds(self, what, true, found):
        self.made += 1
        if not true:
            self.fail(what, found)

    async def refused(self, what, error, call, message=""):
        """`call` ends in this error of harborapi (they stand for statuses), and its text holds `message`."""
        try:
            answer = await call
        except error as refusal:
            self.holds(what, message in str(refusal), f"the text `{message}` is not in {refusal}")
        except StatusError as refusal:
            self.holds(what, False, f"wanted {error.__name__}, found {type(refusal).__name__}: {refusal}")
        else:
            self.holds(what, False, f"wanted {error.__name__}, found {answer!r}")

    def fail(self, what, why):
        self.failed += 1
        print(f"FAIL  {self.subject}: {what}: {' '.join(str(why).split())}", flush=True)

    async def run(self, subject, *arguments):
        """The whole subject; whether all of it was as it should be."""
        try:
            await subject(self, *arguments)
        except Exception as unexpected:
            here = Path(__file__).parent
            at = [frame for frame in traceback.extract_tb(unexpected.__traceback__) if Path(frame.filename).parent == here]
            self.fail(f"`{at[-1].line}`", f"{type(unexpected).__name__}: {unexpected}")
        if not self.failed:
            print(f"ok    {self.subject}: {self.made} checks", flush=True)
        return not self.failed
