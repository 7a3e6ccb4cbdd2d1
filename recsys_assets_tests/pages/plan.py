"""Where each command of the pages is run, or why it is not.

Here: a line for each kind of command. Not here: running them. A command in neither list fails a test; so does a line
here that no command fits any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from recsys_assets_tests.pages.blocks import Command

WITHOUT_A_STACK = "test_without_a_stack.py"
STORY = "journeys/house.py"
GATEWAY = "gateway/test_serving_page.py"
WITH_A_STACK = "journeys/test_commands_of_the_pages.py"
CATALOGUE = "interactions/test_accept_smaller.py"
CLUSTER = "needs a cluster; `make test-cluster` does the same with helm and the API (recsys_assets_tests/cluster)"
CLOUD = "needs an account at AWS"
IMAGES = "needs Docker and a registry"


@dataclass(frozen=True)
class Place:
    """Commands of a page that begin so, and the test that runs them or the reason why none does."""

    page: str
    begins: str
    where: str

    def fits(self, command: Command) -> bool:
        return command.page == self.page and re.match(self.begins, command.text) is not None


RUN = (
    Place("README.md", r"make (help|up|traffic|down)\b", WITH_A_STACK),
    Place("README.md", r"head ", WITHOUT_A_STACK),
    Place("README.md", r"recsys-assets (check-config|--help)", WITHOUT_A_STACK),
    Place("README.md", r'eval "\$\(recsys-assets init\)"', STORY),
    Place("README.md", r"dagster (job execute|asset materialize) ", STORY),
    Place("docs/bad-input.md", r"(echo 'ops|dagster job execute) ?", CATALOGUE),
    Place("docs/configuration.md", r"recsys-assets check-config", WITHOUT_A_STACK),
    Place("docs/drills.md", r"recsys-assets (up|drill --report)", WITH_A_STACK),
    Place("docs/kubernetes.md", r"version\(\) ", WITHOUT_A_STACK),
    Place("docs/kubernetes.md", r"curl ", GATEWAY),
    Place("docs/feedback.md", r"recsys-assets collector-token ", WITHOUT_A_STACK),
    Place("docs/notifications.md", r"umask 077; python ", WITHOUT_A_STACK),
    Place("docs/people.md", r"recsys-assets (?!status|show)", WITHOUT_A_STACK),
    Place("docs/serving.md", r"(curl|echo '.*\| curl) ", GATEWAY),
    Place("docs/serving.md", r"python -m recsys_assets.serving.server|echo \$\?", WITH_A_STACK),
)
EXCUSED = (
    Place("README.md", r"make demo", "five minutes; `benchmarks/demo_story.py` plays it"),
    Place("README.md", r"make test(-slow)?", "this test is part of it"),
    Place("README.md", r"(helm|kubectl) ", CLUSTER),
    Place("CONTRIBUTING.md", r"make install-dev|\.venv/bin/pre-commit|make lint test", "for developers; CI does it"),
    Place("CONTRIBUTING.md", r"apt-get ", "installs packages of the system"),
    Place("CONTRIBUTING.md", r"make (cluster-binaries|test-cluster)", "root, Go and forty minutes"),
    Place("docs/drills.md", r"recsys-assets drill slow --wait", "minutes; `benchmarks/drills.py` plays all of them"),
    Place("docs/guard.md", r"python -m benchmarks", "a measurement of half an hour"),
    Place(
        "docs/people.md",
        r"recsys-assets (status|show) ?",
        "shortened, of a home of three releases; rollout tests do both",
    ),
    Place("docs/state.md", r"python -m benchmarks.kill_drill", "hours; `make test-slow` plays its short form (kills)"),
    Place("docs/kubernetes.md", r"(helm|kubectl|CODE=)", CLUSTER),
    Place("docs/kubernetes.md", r"aws |cat > recsys-|cat > trust|for identity in ", CLOUD),
    Place("docs/kubernetes.md", r"docker |mkdir -m 700 keys", IMAGES),
)
