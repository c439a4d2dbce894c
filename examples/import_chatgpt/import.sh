#!/usr/bin/env bash
# Imports the data export of ChatGPT and shows what arrived.
#
# Start a server (see the README) and run it with:
#
#     export SESSIONARY_URL=http://127.0.0.1:8080 SESSIONARY_ORGANISATION=demo SESSIONARY_TOKEN=sny_...
#     examples/import_chatgpt/import.sh ada
#     examples/import_chatgpt/import.sh ada path/to/chatgpt-export.zip
#
# Without a file it imports conversations.json beside this script, which is made up. To keep the original times, create
# the token with the scope for it: sessionary tokens create --organisation demo --name import \
#   --scope sessions:read --scope sessions:write --scope sessions:import
# Running it twice imports nothing twice.
set -euo pipefail

user=$1
file=${2:-"$(dirname "$0")/conversations.json"}

sessionary import "$file" --user-id "$user" --session-group chatgpt
sessionary list-sessions --user-id "$user" --session-group chatgpt
newest=$(sessionary list-sessions --user-id "$user" --limit 1 --json |
  python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["id"])')
sessionary get-session "$newest"
