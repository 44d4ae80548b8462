from pathlib import Path
from tempfile import TemporaryDirectory
import pytest
from hypothesis import given, settings, strategies as st
from elspeth.core.landscape.export_files import *
from elspeth.core.landscape.importer import import_export
from elspeth.core.landscape.store import RecordStore
from elspeth_schema.strategies import whole_runs
from tests.fixtures.landscapes import in_memory

def content(path): return {f.name if path.is_dir() else '': f.read_bytes() for f in (sorted(path.iterdir()) if path.is_dir() else [path])}
@settings(max_examples=300)
@given(run=whole_runs(), form=st.sampled_from(["json","jsonl","parquet"]), pay=st.booleans(), key=st.sampled_from([None,b'k']))
def test_law(run, form, pay, key):
    with TemporaryDirectory() as d:
        a,b=Path(d)/'a',Path(d)/'b'
        with in_memory() as db:
            RecordStore(db).add(*run)
            write_export(db, run[0].run_id, a, format=ExportFormat(form), signing_key=key, include_payloads=pay)
        with in_memory() as db:
            import_export(db, a, signing_key=key)
            write_export(db, run[0].run_id, b, format=ExportFormat(form), signing_key=key, include_payloads=pay)
        assert content(a)==content(b)
