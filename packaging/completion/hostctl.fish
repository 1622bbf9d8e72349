# /usr/share/fish/vendor_completions.d/hostctl.fish
hostctl completion fish | source
