# Completion of `orch` for bash. Asks the program itself, so that it fits the installed version.
_orch() {
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" __complete -- "${words[@]}" 2>/dev/null)
}
complete -o bashdefault -o default -F _orch orch
