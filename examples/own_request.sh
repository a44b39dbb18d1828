#!/usr/bin/env bash
# A request as an operator makes it, from photos to a page, and what an auditor does with it afterwards.
#   bash examples/own_request.sh [FOLDER]
# Takes about four minutes of one core. With MODEL=checkpoint and photos in FOLDER/target and FOLDER/others it is a
# request of your own; the questions in FOLDER/questions.jsonl may be left out.
set -uo pipefail
venv=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin
[ -d "$venv" ] && PATH=$venv:$PATH # as make demo makes it
command -v unsee > /dev/null || { echo "unsee is not installed; run make demo, or pip install ." >&2; exit 2; }
work=${1:-own-request}
here=$(cd "$(dirname "$0")" && pwd)
model=${MODEL:-$(python -c "from unsee.benchmarks.personas import CHECKPOINTS; print(CHECKPOINTS / 'base')")}
mkdir -p "$work" && cd "$work" || exit 2

run() { # what is typed, and the exit code that is expected of it
  local expected=$1
  shift
  printf '\n$ %s\n' "$*"
  "$@"
  local code=$?
  echo "exit $code"
  [ "$code" -eq "$expected" ] || { echo "expected exit $expected" >&2; exit 1; }
}

[ -d target ] || run 0 python "$here/draw_photos.py" .
photos=(--target target --retain others)
questions=()
[ -f questions.jsonl ] && questions=(--questions questions.jsonl)

# The request: the checkpoint, its record, every answer and the page. 1 where it does not reach its aim.
run 0 unsee forget --model "$model" "${photos[@]}" "${questions[@]}" --id 2026-017 --out forgotten --overwrite
# The same photos and questions again, of both models. With --require it would be 1 where a bar is missed.
run 0 unsee evaluate --model forgotten --before "$model" "${photos[@]}" "${questions[@]}" --out scores --overwrite
# Attacks that need no training. What an attack brings back is in the table and on its page.
run 0 unsee attack --model forgotten --before "$model" "${photos[@]}" --attacks paraphrase,perturb \
  --out attacked --overwrite
# On the model before, nothing was forgotten, and attack says so.
run 1 unsee attack --model "$model" --before "$model" "${photos[@]}" --attacks paraphrase --require \
  --out untouched --overwrite
# A benchmark that is about others than the request is refused by name.
run 2 unsee evaluate --model forgotten --before "$model" --benchmark personas/forget_10 --out refused
printf '\nthe page: %s/forgotten/report.html\n' "$PWD"
