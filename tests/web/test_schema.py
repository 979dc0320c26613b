"""The OpenAPI document tells the truth: requests made from it are answered as it says.

`ANKIBAK_SCHEMA_CASES` says how many for each operation, of what it allows and of what it forbids.
"""

from __future__ import annotations

import os

import pytest

from tests.web.conftest import Served

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
CASES = int(os.environ.get("ANKIBAK_SCHEMA_CASES", "4"))
# What would start a process or send a large file for each case is tested elsewhere.
LEFT_OUT = {"downloadBackup", "rollBack", "startRun"}
CHECKS = ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]


def asked(served: Served, operation, mode, names: list[str]) -> int:
    """Make requests to one operation and hold the answers to these checks; return how many."""
    from hypothesis import HealthCheck, given, settings
    from schemathesis import checks

    headers = {"Authorization": f"Bearer {served.token}"}
    chosen = [checks.not_a_server_error, *map(checks.CHECKS.get_one, names)]
    # What the document doesn't name is ignored, as HTTP has it.
    known = {parameter.name for parameter in operation.query}
    cases = operation.as_strategy(generation_mode=mode).filter(
        lambda case: known.issuperset(case.query or ())
    )
    count = 0

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases)
    def ask(case) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(base_url=served.origin, headers=headers, checks=chosen)

    ask()
    return count


def test_requests_made_from_the_document_are_answered_as_it_says(served: Served):
    from schemathesis import GenerationMode

    schema = schemathesis.openapi.from_url(
        f"{served.origin}/schema/openapi.json", headers={"Authorization": f"Bearer {served.token}"}
    )
    right, wrong = [], []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.definition.raw.get("operationId") in LEFT_OUT:
            continue
        right.append(asked(served, operation, GenerationMode.POSITIVE, CHECKS))
        if operation.query or operation.path_parameters:  # else nothing is forbidden
            refusal = [*CHECKS, "negative_data_rejection"]
            wrong.append(asked(served, operation, GenerationMode.NEGATIVE, refusal))
    print(f"{sum(right)} right requests to {len(right)} operations, {sum(wrong)} wrong ones to {len(wrong)}")
    assert (len(right), len(wrong)) >= (8, 5)
    assert min(right) > 0 and min(wrong) > 0
