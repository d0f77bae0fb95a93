"""`warmgate lint`: manifests judged together, before anything is applied.

Read-only. Parses, reads, judges, renders; decides nothing. Notes and progress go to stderr, the report to stdout.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from serving.cli.streams import tell, write_report
from serving.errors import Refused
from serving.facts.kube.manifests import Bundle
from serving.judge.lint import RULES, Severity, judge_alternatives
from serving.observe.helm_chart import NAMESPACE, RELEASE, ChartOptions
from serving.observe.manifests import Manifests, read_manifests
from serving.report.text import color_wanted, one_line, render_text
from serving.verdict import Report, Verdict

POOL_GPUS: Final = "warmgate/pool-gpus"
SLOW_SECONDS: Final = 2.0


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--values",
    "-f",
    "values",
    envvar="WARMGATE_VALUES",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Values of the chart.  May be repeated; later ones win.",
)
@click.option(
    "--set",
    "sets",
    envvar="WARMGATE_SET",
    multiple=True,
    metavar="KEY=VALUE",
    help="One value of the chart, as Helm writes it.  May be repeated; wins over --values.",
)
@click.option("--release", envvar="WARMGATE_RELEASE", metavar="NAME", help=f"Helm release.  [default: {RELEASE}]")
@click.option(
    "--namespace",
    "-n",
    envvar="WARMGATE_NAMESPACE",
    metavar="NAME",
    help=f"Namespace that the chart is rendered for, and that is read of a cluster that does not show all.  "
    f"[default: {NAMESPACE}, all]",
)
@click.option(
    "--cluster",
    envvar="WARMGATE_CLUSTER",
    is_flag=True,
    help="Also read nodes, quotas, classes, claims and definitions from the cluster, and judge against them.",
)
@click.option("--context", "kube_context", envvar="WARMGATE_CONTEXT", metavar="NAME", help="Context of the kubeconfig.")
@click.option(
    "--kubeconfig",
    envvar="WARMGATE_KUBECONFIG",
    type=click.Path(path_type=Path),
    help="Which cluster.  [default: as kubectl]",
)
@click.option(
    "--pool-gpus",
    envvar="WARMGATE_POOL_GPUS",
    type=click.IntRange(0),
    metavar="N",
    help=f"GPUs in the pool, where no annotation {POOL_GPUS} says so.",
)
@click.option(
    "--severity",
    envvar="WARMGATE_SEVERITY",
    type=click.Choice([each.value for each in Severity]),
    default=Severity.WARNING.value,
    show_default=True,
    help="Judge rules of at least this severity.",
)
@click.option(
    "--output",
    "-o",
    envvar="WARMGATE_OUTPUT",
    type=click.Choice(["text", "json", "junit", "sarif"]),
    default="text",
    show_default=True,
    help="Format of the report on stdout.",
)
@click.option("--verbose", "-v", envvar="WARMGATE_VERBOSE", is_flag=True, help="Show the rules that held, too.")
@click.option("--rules", is_flag=True, help="List the rules and exit.")
def command(
    paths: tuple[str, ...],
    values: tuple[Path, ...],
    sets: tuple[str, ...],
    release: str | None,
    namespace: str | None,
    cluster: bool,
    kube_context: str | None,
    kubeconfig: Path | None,
    pool_gpus: int | None,
    severity: str,
    output: str,
    verbose: bool,
    rules: bool,
) -> int:
    """Prove that manifests tell one story before anything is applied.

    PATH is a YAML or JSON file, a directory, a Helm chart (directory or .tgz), a kustomization, or - for stdin. All of
    them are judged together, as one cluster would hold them; charts and kustomizations that make the same object are
    alternatives, such as the overlays of one base: each is judged with all else. Nothing is written anywhere.

    \b
    Exit code 0 every rule held, 1 a rule does not hold, 2 usage or a file that is wrong, 3 something
    could not be told or not be read. Lines of charts and kustomizations count in the rendered text.

    \b
    Examples:
      warmgate lint ./helm/warmgate --values prod.yaml --set gpu.count=2 --release qwen --namespace llm
      warmgate lint manifests/overlays/gpu-pool --cluster --context prod --pool-gpus 16
      warmgate lint deploy/ extra.yaml --severity error --output sarif > lint.sarif
      helm template qwen ./chart | warmgate lint - --output junit
      warmgate lint --rules
    """
    if rules:
        from serving.report.rules import rules_text

        write_report(rules_text(RULES))
        return 0
    if not paths:
        raise click.UsageError("name a file, a directory, a chart, a kustomization, or - for stdin")
    if not cluster and (kube_context or kubeconfig):
        raise Refused("--context and --kubeconfig say which cluster: add --cluster to read it")
    gc.disable()  # one short run builds a million objects and frees none of them: collecting doubles its time
    options = ChartOptions(values, sets, release, namespace or NAMESPACE)
    with _told("rendering and reading manifests"):
        manifests = read_manifests(paths, options)
    for note in manifests.notes:
        tell(f"lint: {one_line(note)}")
    bundles = [Bundle(part, pool_gpus=pool_gpus) for part in manifests.parts]
    if cluster:
        from serving.observe.cluster_documents import Cluster, read_cluster

        with _told("reading the cluster"):
            live = read_cluster(Cluster(kubeconfig, kube_context, namespace))
        bundles = [Bundle(part, live.documents, live.unseen, pool_gpus) for part in manifests.parts]
    number = len(manifests.documents)
    counted = f"{number} document{'' if number == 1 else 's'}"
    title = f"lint {' '.join(paths)}: {counted}{' and the cluster' if cluster else ''}"
    report = judge_alternatives(bundles, title, Severity(severity))
    write_report(_rendered(report, output, manifests, verbose))
    return report.exit_code


def _rendered(report: Report, output: str, manifests: Manifests, verbose: bool) -> str:
    """The report in the format that was asked for; each format is imported only when it is."""
    if output == "json":
        from serving.report.json import render_json

        return render_json(report, command="lint", documents=len(manifests.documents), notes=list(manifests.notes))
    if output == "junit":
        from serving.report.junit import render_junit

        return render_junit(report)
    if output == "sarif":
        from serving.report.sarif import render_sarif

        return render_sarif(report, RULES, manifests.rendered)
    hidden = () if verbose else (Verdict.PASS,)
    return render_text(report, color=color_wanted(sys.stdout, os.environ), hidden=hidden)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """Tell a person at a terminal what takes so long."""
    timer = threading.Timer(SLOW_SECONDS, print, [f"lint: {doing} ..."], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
