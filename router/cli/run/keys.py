"""``foresight keys``: make, list and revoke the keys of a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from probes.errors import UsageError
from router.cli.output import money, out, say, write_json
from router.configuration.complaints import config_error

CREATE_EXAMPLE = "Example: foresight keys create team-a --usd-per-day 5 --requests-per-minute 120"
LIST_EXAMPLE = "Example: foresight keys list"
ENV_EXAMPLE = "Example: foresight keys env >> .env"
REVOKE_EXAMPLE = "Example: foresight keys revoke team-a"

app = typer.Typer(help="Make, list and revoke the keys of a gateway.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; shown in the ledger.")]
File = Annotated[Path, typer.Option(help="The key file; the pool names it as serve: {keys: {file: …}}.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("create", epilog=CREATE_EXAMPLE)
def create(
    name: Name,
    file: File = Path("keys.yaml"),
    requests_per_minute: Annotated[float | None, typer.Option(help="Requests in the long run.")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    max_parallel: Annotated[int | None, typer.Option(help="Requests answered at the same time.")] = None,
    usd_per_day: Annotated[float | None, typer.Option(help="Most that answers may cost in a day.")] = None,
    usd_per_month: Annotated[float | None, typer.Option(help="The same for a calendar month.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Largest request body.")] = None,
    candidate: Annotated[
        list[str] | None, typer.Option(help="Who may answer; more than once for several. Default: all.")
    ] = None,
    operator: Annotated[bool, typer.Option("--operator", help="Opens /dashboard and /metrics.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key, add its hash to the key file, and print the key: this once, and never again."""
    from serving.keys.file import read_keys, write_keys
    from serving.keys.key import Key, KeyRing, hashed, new_secret

    ring = read_keys(file) if file.exists() else KeyRing()
    if ring.get(name) is not None:
        hint = f"foresight keys revoke {name} --file {file} removes it."
        raise UsageError(f"There is a key {name!r} in {file} already.", param="name", hint=hint)
    secret = new_secret(name)
    limits = {
        "requests_per_minute": requests_per_minute,
        "burst": burst,
        "max_parallel": max_parallel,
        "usd_per_day": usd_per_day,
        "usd_per_month": usd_per_month,
        "max_body_bytes": max_body_bytes,
        "candidates": candidate or None,
        "operator": operator,
    }
    try:
        key = Key.model_validate({"id": name, "sha256": hashed(secret), **limits})
    except ValidationError as error:
        raise config_error(Key, error, "the new key") from error
    write_keys(file, ring.with_key(key))
    if as_json:
        write_json({"id": name, "key": secret, "file": str(file)})
    else:
        typer.echo(secret)
        say(f"Its hash is in {file}. Keep the key: it is shown this once.")


@app.command("list", epilog=LIST_EXAMPLE)
def listing(file: File = Path("keys.yaml"), as_json: AsJson = False) -> None:
    """Show names and limits."""
    from serving.keys.file import read_keys

    ring = read_keys(file)
    if as_json:
        write_json({"keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in ring.keys]})
        return
    table = Table("name", "requests a minute", "at once", "a day", "a month", "candidates", "operator")
    for key in ring.keys:
        rate = "–" if key.requests_per_minute is None else f"{key.requests_per_minute:g}"
        money_limits = ("–" if usd is None else money(usd) for usd in (key.usd_per_day, key.usd_per_month))
        parallel = "–" if key.max_parallel is None else str(key.max_parallel)
        names = "all" if key.candidates is None else ", ".join(key.candidates)
        table.add_row(key.id, rate, parallel, *money_limits, names, "yes" if key.operator else "")
    out().print(table)


@app.command("env", epilog=ENV_EXAMPLE)
def env(file: File = Path("keys.yaml")) -> None:
    """Print the key file, hashes included, as a line that sets FORESIGHT_KEYS."""
    from serving.keys.file import one_line, read_keys

    typer.echo(f"FORESIGHT_KEYS={one_line(read_keys(file))}")


@app.command("revoke", epilog=REVOKE_EXAMPLE)
def revoke(name: Name, file: File = Path("keys.yaml")) -> None:
    """Take a key out of the file; running gateways notice within seconds."""
    from serving.keys.file import read_keys, write_keys

    ring = read_keys(file)
    if ring.get(name) is None:
        known = ", ".join(key.id for key in ring.keys) or "none"
        raise UsageError(f"There is no key {name!r} in {file} (there are: {known}).", param="name")
    write_keys(file, ring.without(name))
    say(f"The key {name} is revoked.")
