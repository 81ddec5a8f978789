"""The mapping file: the documentation's examples load, and what is wrong is one sentence with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions import wiring
from oem_submissions.crm.mapping import RestMapping, SalesforceMapping, read_mapping
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.settings import PREFIX, EnvironmentSecrets, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs" / "crm").glob("*.yaml"))
REST = (ROOT / "docs" / "crm" / "roundup.yaml").read_text()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_documentation_loads_and_the_page_names_it(example: Path) -> None:
    mapping = read_mapping(example)
    assert len(mapping.outcome.names()) == 14
    assert f"crm/{example.name}" in (ROOT / "docs" / "crm.md").read_text()


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("connector: sugar\n", 1, "connector", "salesforce, hubspot, table, rest"),
        ("table: claims\n", 1, "connector", "one of"),
        ("connector: table\ntable: claims\nrecrod: {}\n", 3, "recrod", "not known"),
        ("connector: table\ntable: claims; DROP\n", 2, "table", "pattern"),
        ("connector: table\ntable: claims\nstatus:\n  FILED: HELD\n", 1, "(the whole file)", "two meanings"),
        ("connector: table\ntable: c\noutcome: {status: dealer, run_id: dealer}\n", 3, "outcome", "given twice"),
        ("connector: table\ntable: claims\nfiles: {table: files}\n", 3, "files", "content or url"),
        ("connector: salesforce\nrecord:\n  oem: {field: a, always: b}\n", 3, "record.oem", "either field or always"),
        ("connector: salesforce\nrecord:\n  oem: x y\n", 1, "(the whole file)", "can't be the name of a field"),
        ("connector: hubspot\nurl: http://api.hubapi.com\n", 2, "url", "https://"),
        (REST.replace("https://tracker.example.com/claims/rest", "https://me:secret@x.example"), 4, "url", "password"),
        (REST.replace("type: etag", "type: none"), 35, "write.guard", "etag"),
        (REST.replace("records: data.collection", "records: data.[["), 23, "list.records", "JMESPath"),
        (REST.replace('"[0-9]{1,12}"', '".+"'), 10, "ids", "another address"),
        ("- connector\n", 1, "", "mapping of keys"),
        ("connector: [\n", 2, "", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_line_and_key(
    tmp_path: Path, text: str, line: int, key: str, says: str
) -> None:
    path = tmp_path / "crm.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_mapping(path)
    said = str(caught.value)
    assert said.startswith(f"{path} line {line}")
    assert f"'{key}'" in said or not key
    assert says in said
    assert said.endswith(".")
    assert "\n" not in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"crm\.yaml can't be read: No such file"):
        read_mapping(tmp_path / "crm.yaml")


def test_without_a_file_it_is_salesforce_with_our_own_object() -> None:
    settings = read_settings({f"{PREFIX}CRM_URL": "https://x.my.salesforce.com"})
    assert wiring.crm_mapping(settings) == SalesforceMapping()
    assert wiring.crm_page(settings) == "https://x.my.salesforce.com/lightning/r/OEM_Claim__c/{id}/view"
    assert wiring.crm_page(read_settings({})) is None


@pytest.mark.parametrize(
    ("example", "missing"),
    [
        ("salesforce", "CRM_PRIVATE_KEY"),
        ("hubspot", "CRM_TOKEN"),
        ("table", "CRM_DATABASE_URL"),
        ("roundup", "CRM_PASSWORD"),
    ],
)
def test_each_connector_is_wired_and_names_the_secret_that_it_lacks(example: str, missing: str) -> None:
    settings = read_settings({f"{PREFIX}CRM_MAPPING": str(ROOT / "docs" / "crm" / f"{example}.yaml")})
    given = {"CLIENT_ID": "x", "USERNAME": "x"}
    secrets = EnvironmentSecrets({f"{PREFIX}SECRET_CRM_{name}": value for name, value in given.items()})
    with pytest.raises(SettingsError, match=missing):
        wiring.crm_client(settings, secrets)


def test_secrets_are_nowhere_in_a_mapping() -> None:
    for example in EXAMPLES:
        mapping = read_mapping(example)
        assert not {"password", "token", "secret", "client_secret"} & set(mapping.model_dump())
    assert isinstance(read_mapping(ROOT / "docs" / "crm" / "roundup.yaml"), RestMapping)
