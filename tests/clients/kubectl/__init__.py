"""kubectl of each minor: what people do with it every day.

Each module is a topic and has a namespace of its own. Checks of a topic may build on those before them where that is how it is
used: what was applied is applied again.
"""

import secrets

from ..report import Failure, checks_of
from ..tools import KUBECTL, Unavailable
from . import access, apply, change, create, custom, discovery, nodes, pods, read, remove, rollout
from .session import Session

TOPICS = [discovery, create, apply, read, change, rollout, pods, remove, access, nodes, custom]


def run(setting, report):
    for minor in setting.kubectl_minors or KUBECTL:
        group = f"kubectl {minor}"
        try:
            program = setting.tools.kubectl(minor)
        except Unavailable as why:
            report.skip(group, why)
            continue
        except KeyError:
            report.fail(group, f"there is no such version; there are {', '.join(KUBECTL)}")
            continue
        for topic in TOPICS:
            checks = [check for check in checks_of(topic) if report.wants(group, check)]
            if checks:
                _topic(setting, report, group, program, topic, checks)


def _topic(setting, report, group, program, topic, checks):
    name = topic.__name__.rpartition(".")[2]
    namespace = f"clients-{name}-{secrets.token_hex(3)}"
    try:
        session = Session(setting, program, namespace)
    except Failure as failure:
        report.fail(f"{group}: a namespace for {name}", failure, failure.output)
        return
    try:
        for check in checks:
            report.run(group, check, session)
    finally:
        if not setting.keep:
            session.end()
