"""What a materialisation shows people: the claims as a table, links, a thumbnail of the proof."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from dagster import MetadataValue, TableColumn, TableRecord, TableSchema
from PIL import Image

from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.records import Claim
from oem_submissions.ports import EvidenceMissing, EvidenceUnavailable, Portal
from oem_submissions.services.bound import Services
from oem_submissions.services.submit import Partition
from oem_submissions.settings import Settings

_THUMBNAIL = (420, 420)
"""Pixels, at most."""


def claims_table(claims: Sequence[Claim], columns: Sequence[str]) -> MetadataValue:
    """The claims as a table of the given attributes."""
    frame = pd.DataFrame([{name: getattr(claim, name) for name in columns} for claim in claims], columns=list(columns))
    frame = frame.astype("object").where(frame.notna(), None)
    records = [
        TableRecord({str(k): v if isinstance(v, int | type(None)) else str(v) for k, v in row.items()})
        for row in frame.to_dict("records")
    ]
    schema = TableSchema([TableColumn(name, "int" if name == "attempts" else "string") for name in columns])
    return MetadataValue.table(records, schema=schema)


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> MetadataValue:
    """The rows as a table of texts."""
    frame = pd.DataFrame(rows, columns=list(columns)).astype("object")
    frame = frame.where(frame.notna(), None)
    records = [TableRecord({str(k): v for k, v in row.items()}) for row in frame.to_dict("records")]
    return MetadataValue.table(records, schema=TableSchema([TableColumn(name, "string") for name in columns]))


def frame_table(frame: pd.DataFrame, rows: int) -> MetadataValue:
    """The first rows of a frame as a table of texts, numbers to two places."""
    texts = frame.head(rows).map(lambda value: f"{value:.2f}" if isinstance(value, float) else str(value))
    return text_table([{str(k): v for k, v in row.items()} for row in texts.to_dict("records")], list(frame.columns))


def pin_tags(portal: Portal) -> dict[str, str]:
    """A run's tags that say with which code and pack it worked."""
    pins = portal.pins
    return {"adapter_digest": pins.adapter_digest[:12], "pack": f"{pins.pack_version}-{pins.pack_digest[:12]}"}


def links(settings: Settings, partition: Partition) -> dict[str, MetadataValue]:
    """Where a person goes on from here."""
    return {"evidence desk": MetadataValue.url(f"{settings.desk_url}/?q={partition.dealer}")}


def thumbnail(services: Services, claims: Sequence[Claim]) -> dict[str, MetadataValue]:
    """A small picture of the newest claim's last page, linked to its story on the desk; nothing when there is none."""
    for claim in sorted(claims, key=lambda claim: claim.updated_at, reverse=True):
        shots = [a for a in services.ledger.artifacts(claim.claim_id) if a.name in (POST_CONFIRM, PRE_SUBMIT)]
        for shot in reversed(shots):
            try:
                picture = _shrink(services.evidence.get(shot.key))
            except (EvidenceMissing, OSError):
                continue
            story = f"{services.settings.desk_url}/claims/{claim.claim_id}"
            text = f"[{claim.claim_id}]({story})\n\n![{shot.name}](data:image/jpeg;base64,{picture})"
            return {"last page": MetadataValue.md(text)}
    return {}


def pictures(services: Services, title: str, prefix: str) -> dict[str, MetadataValue]:
    """Small pictures of what the evidence store has below a key; nothing when there is none, or no store."""
    shown = []
    try:
        keys = services.evidence.keys(prefix)
    except EvidenceUnavailable:
        return {}
    for key in keys:
        try:
            small = _shrink(services.evidence.get(key))
        except (EvidenceMissing, EvidenceUnavailable, OSError):
            continue
        name = key.rpartition("/")[2]
        shown.append(f"{name}\n\n![{name}](data:image/jpeg;base64,{small})")
    return {title: MetadataValue.md("\n\n".join(shown))} if shown else {}


def _shrink(image: bytes) -> str:
    picture: Any = Image.open(io.BytesIO(image)).convert("RGB")
    picture.thumbnail(_THUMBNAIL)
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=60)
    return base64.b64encode(small.getvalue()).decode()
