# /usr/share/bash-completion/completions/hostctl
eval "$(hostctl completion bash)"
