"""How far can a judge be trusted? A served model judges LLMBar's pairs, whose better side people agreed on.

    epigone serve studies/models/smollm2-135m-instruct --dtype float32 --threads 1 --port 8777 --name smollm2-135m
    python dev/judge_llmbar.py ../shared/data/llmbar --url http://127.0.0.1:8777/v1 --model smollm2-135m --out judged/

Every set goes through `epigone judge` as a user's files would: output 1 stands as the student's, output 2 as the
teacher's, LLMBar's label as a person's vote. Printed: agreement with people, flips with the order, first-position wins,
replies without a verdict, and, with --attack-pairs, how often an attack at the end of an answer won it something.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from epigone.compare import wilson
from epigone.disk import write_jsonl
from epigone.records import Output, Vote


def prepare(rows: list[dict[str, str]], out: Path) -> None:
    """The two outputs files and the people's votes of one set."""
    sides = {"student": "output_1", "teacher": "output_2"}
    for side, column in sides.items():
        outputs = [Output(id=f"p{i:03d}", prompt=row["input"], response=row[column]) for i, row in enumerate(rows)]
        write_jsonl(out / f"{side}.jsonl", outputs)
    votes = [
        Vote(
            item=f"p{i:03d}",
            student="student",
            teacher="teacher",
            voter="people",
            kind="person",
            choice="student" if str(row["label"]) == "1" else "teacher",
        )
        for i, row in enumerate(rows)
    ]
    write_jsonl(out / "people.jsonl", votes)


def judge(out: Path, spec: dict[str, object], attack_pairs: int) -> dict[str, object]:
    """Run `epigone judge` on the prepared folder and return judge.json."""
    (out / "judge.yaml").write_text(json.dumps(spec), encoding="utf-8")
    command = [Path(sys.executable).with_name("epigone"), "judge", "--teacher", f"teacher={out / 'teacher.jsonl'}"]
    command += ["--student", f"student={out / 'student.jsonl'}", "--votes", out / "people.jsonl"]
    command += ["--judge", out / "judge.yaml", "--out", out, "--yes", "--attack-pairs", str(attack_pairs)]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, object] = json.loads((out / "judge.json").read_text(encoding="utf-8"))
    return found


def percent(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + ("" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]")


def report(found: dict[str, object], kind: str) -> None:
    """Print what judge.json says of the one judge."""
    estimates = found["results"]["estimates"]["student"]  # type: ignore[index]
    for metric in ("agreement_with_people", "tie_share", "flip_share", "first_position_share"):
        e = estimates.get(f"preference.{kind}.{metric}")
        if e:
            print(f"  {metric:24} {percent(e['value'], e['low'], e['high'])}  n = {e['n_scored']} of {e['n_total']}")
    statuses = Counter(next(counts for voter, counts in found["votes"].items() if voter != "people"))  # type: ignore[attr-defined]
    shown = sum(statuses.values())
    print(f"  {'without a verdict':24} {percent(*wilson(shown - statuses['ok'], shown))}  {dict(statuses)}")
    effects = [effect for effects in found["attacks"].values() for effect in effects]  # type: ignore[attr-defined]
    for name in ("gained", "lost"):
        total = sum(effect["showings"] for effect in effects)
        if total:
            hits = sum(effect[name] for effect in effects)
            print(f"  {'attacks that ' + name:24} {percent(*wilson(hits, total))}  {hits} of {total} showings")
    for effect in sorted(effects, key=lambda effect: -effect["gained"]):
        print(f"    {effect['attack']:24} +{effect['gained']} −{effect['lost']} of {effect['showings']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with LLMBar's JSON files")
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sets", nargs="+", default=["LLMBar_Natural", "LLMBar_Adversarial_Neighbor"])
    parser.add_argument("--forms", nargs="+", default=["two_scores", "three_choices"])
    parser.add_argument("--likelihood", help="folder of a model: a likelihood judge instead of asking the served one")
    parser.add_argument("--attack-pairs", type=int, default=0, help="on the first set only")
    parser.add_argument("--pairs", type=int, help="the first so many of each set; all by default")
    parser.add_argument("--max-tokens", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for index, name in enumerate(options.sets):
        rows = json.loads((options.data / f"{name}.json").read_text(encoding="utf-8"))[: options.pairs]
        for form in options.forms:
            out = options.out / f"{name}-{form}"
            out = out.with_name(f"{out.name}-likelihood") if options.likelihood else out
            prepare(rows, out)
            asked: dict[str, object] = {"api": {"base_url": options.url, "model": options.model}, "form": form}
            asked |= {"max_tokens": options.max_tokens}
            if options.likelihood:
                asked = {"likelihood": {"hf": options.likelihood}}
            print(f"{name}, {'likelihood' if options.likelihood else form}, {len(rows)} pairs", flush=True)
            kind = "likelihood_judge" if options.likelihood else "llm_judge"
            report(judge(out, asked, 0 if index else options.attack_pairs), kind)


if __name__ == "__main__":
    main()
