"""Who somebody is: a table of spellings, and that nothing is ever guessed."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.identities import Ambiguous, Identities, Identity, Resolved, Rule, Unknown


def rules() -> Identities:
    """Return rules for most spellings; built in each test, as building is a part of it."""
    return Identities(
        domains=["company.com", "sub_unit.org", "unit.org"],
        rules=[
            Rule("CORP-{account}", email="{account}@corp.example.com"),
            Rule("{first}.{last} (ext)", account="x-{first}-{last}"),
        ],
        lookup={"user:jd": "John.Doe@company.com", "group:board": "Board@company.com"},
    )


PLAIN = Identities()
JOHN = Resolved(email="john.doe@company.com")


@pytest.mark.parametrize(
    ("spelling", "identity"),
    [
        ("user:john.doe_company.com", JOHN),
        ("john.doe_company.com", JOHN),
        ("user:default/john.doe_company.com", JOHN),
        ("User:John.Doe_Company.com ", JOHN),
        ("john.doe@company.com", JOHN),
        ("user:john.doe@company.com", JOHN),
        ("user:jd", JOHN),
        ("user:john_doe_company.com", Resolved(email="john_doe@company.com")),
        ("user:a_sub_unit.org", Ambiguous(["a@sub_unit.org", "a_sub@unit.org"])),
        ("user:eve_elsewhere.net", Ambiguous(["eve@elsewhere.net"])),
        ("user:alice", Resolved(account="alice")),
        ("alice", Resolved(account="alice")),
        ("CORP-bob", Resolved(email="bob@corp.example.com")),
        ("user:corp-bob", Resolved(email="bob@corp.example.com")),
        ("Ada.Byron (ext)", Resolved(account="x-ada-byron")),
        ("group:finance", Resolved(account="finance", group=True)),
        ("group:default/finance_company.com", Resolved(account="finance_company.com", group=True)),
        ("John Doe", Unknown("a display name does not prove who it is")),
        ("_company.com", Resolved(account="_company.com")),
        ("", Unknown("it is empty")),
        ("x" * 256, Resolved(account="x" * 256)),
        ("x" * 257, Unknown("it is longer than 256 characters")),
        ("group:jd", Resolved(account="jd", group=True)),
        ("group:board", Resolved(email="board@company.com", group=True)),
        ("group:CORP-it", Resolved(email="it@corp.example.com", group=True)),
        ("CORP-a@b", Resolved(email="corp-a@b")),
    ],
)
def test_a_spelling_names_somebody_or_says_why_not(spelling: str, identity: Identity) -> None:
    assert rules().of(spelling) == identity


def test_without_domains_an_underscore_stays_open() -> None:
    assert PLAIN.of("user:john_doe_company.com") == Ambiguous(["john_doe@company.com"])
    assert PLAIN.of("user:a_b.c_d.e") == Ambiguous(["a_b.c@d.e"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("user:john.doe_company.com", "John.Doe@company.com", True),
        ("user:john.doe_company.com", "jane.doe@company.com", False),
        ("user:a_sub_unit.org", "a_sub@unit.org", True),  # a possible reading: a person looks
        ("user:a_sub_unit.org", "b@unit.org", False),
        ("user:alice", "ALICE", True),
        ("user:alice", "bob", None),  # two accounts of two systems may be one person
        ("user:alice", "alice@company.com", None),
        ("John Doe", "john.doe@company.com", None),
        ("John Doe", "john doe", True),
        ("", "john.doe@company.com", None),
    ],
)
def test_two_spellings_name_one_person_or_two_or_nobody_knows(
    one: str, other: str, *, same: bool | None
) -> None:
    assert rules().same(one, other) is same
    assert rules().same(other, one) is same


@given(st.text(max_size=300))
def test_any_text_has_an_answer_and_names_itself(text: str) -> None:
    assert isinstance(rules().of(text), Resolved | Ambiguous | Unknown)
    assert rules().same(text, text) is True
    assert rules().same(text, "nobody@example.invalid") is not True


LOCAL = st.text(string.ascii_lowercase + string.digits + ".-", min_size=1, max_size=20)


@given(LOCAL)
def test_every_address_of_a_domain_is_told_by_its_witboost_spelling(local: str) -> None:
    assert rules().same(f"user:{local}_company.com", f"{local}@company.com") is True


@pytest.mark.parametrize(
    ("spelling", "email"),
    [
        ("user:jd", "john.doe@company.com"),
        ("user:alice", ""),
        ("group:board", ""),
        ("John Doe", ""),
        ("user:eve_elsewhere.net", ""),
    ],
)
def test_an_address_is_that_of_one_person_or_none(spelling: str, email: str) -> None:
    assert rules().email_of(spelling) == email


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule("{a}{b}", email="{a}@x.y"), "match has two placeholders without text between them"),
        (Rule("{a}-{a}", email="{a}@x.y"), "match has a placeholder twice"),
        (Rule("{a}"), "needs exactly one of email and account"),
        (Rule("{a}", email="{a}@x.y", account="{a}"), "needs exactly one of email and account"),
        (Rule("{a}", account="{b}"), "{b} is not a placeholder of match"),
    ],
)
def test_a_rule_that_makes_no_sense_is_told(rule: Rule, problem: str) -> None:
    assert problem in rule.problems()
    assert Rule("x{a}", account="{a}").problems() == []
