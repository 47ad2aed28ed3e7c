# Made by `make docs` from the program's own tables.
_bwtop()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    # bash makes --flag=value three words
    if [[ $current == = ]]; then
        current=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case $before in
        --history)
            mapfile -t COMPREPLY < <(compgen -W "today yesterday week last-week month last-month 24h 7d all" -- "$current")
            [[ $current != -* ]] && return
            ;;
        --salvage)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        -d | --interval)
            return
            ;;
        -n | --iterations)
            return
            ;;
        --backend)
            mapfile -t COMPREPLY < <(compgen -W "tracepoint fexit kprobe" -- "$current")
            return
            ;;
        --max-flows)
            return
            ;;
        --pid)
            mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$current")
            return
            ;;
        --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$current")
            return
            ;;
        --process)
            return
            ;;
        --remote)
            return
            ;;
        --net)
            local first=
            [[ $current == *,* ]] && first=${current%,*},
            mapfile -t COMPREPLY < <(compgen -P "$first" -W "internet lan loopback multicast unknown" -- "${current##*,}")
            compopt -o nospace 2>/dev/null
            return
            ;;
        --loopback)
            mapfile -t COMPREPLY < <(compgen -W "show hide only" -- "$current")
            return
            ;;
        --format)
            mapfile -t COMPREPLY < <(compgen -W "table json csv" -- "$current")
            return
            ;;
        -s | --sort)
            mapfile -t COMPREPLY < <(compgen -W "hostname host_id pid start exec name exe cmdline uid user unit container container_name image pod kernel net asn country remotes flows peak rx tx rx_rate tx_rate rx_total tx_total rate total -hostname -host_id -pid -start -exec -name -exe -cmdline -uid -user -unit -container -container_name -image -pod -kernel -net -asn -country -remotes -flows -peak -rx -tx -rx_rate -tx_rate -rx_total -tx_total -rate -total" -- "$current")
            return
            ;;
        --limit)
            return
            ;;
        --asn-db)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --country-db)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --theme)
            mapfile -t COMPREPLY < <(compgen -W "dark light plain ocean ember paper" -- "$current")
            return
            ;;
        --db)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --by)
            local first=
            [[ $current == *,* ]] && first=${current%,*},
            mapfile -t COMPREPLY < <(compgen -P "$first" -W "process exe user process-name unit container host remote net asn country name domain peer-host conversation proto port hour day month" -- "${current##*,}")
            compopt -o nospace 2>/dev/null
            return
            ;;
        --retention)
            local first=
            [[ $current == *,* ]] && first=${current%,*},
            mapfile -t COMPREPLY < <(compgen -P "$first" -W "seconds= minutes= hours= days= months= 5min=" -- "${current##*,}")
            compopt -o nospace 2>/dev/null
            return
            ;;
        --keep-remotes)
            return
            ;;
        --max-size)
            return
            ;;
        --ship)
            return
            ;;
        --from)
            return
            ;;
        --password-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --host)
            return
            ;;
        --cluster)
            return
            ;;
        --bind)
            return
            ;;
        --metrics)
            return
            ;;
        --metrics-labels)
            local first=
            [[ $current == *,* ]] && first=${current%,*},
            mapfile -t COMPREPLY < <(compgen -P "$first" -W "unit container" -- "${current##*,}")
            compopt -o nospace 2>/dev/null
            return
            ;;
        --otlp)
            return
            ;;
        --token-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --trust-user)
            mapfile -t COMPREPLY < <(compgen -u -- "$current")
            return
            ;;
        --allow-host)
            return
            ;;
        --chart-js)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
        --config)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            compopt -o filenames 2>/dev/null
            return
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "-h --help --batch --record --history --serve --check --demo --salvage --init --print-schema --print-config --version -d --interval -n --iterations --backend --max-flows --no-cache --no-container-names --container-names --no-names --tcp --udp --other --pid --user --process --remote --net --loopback --format -s --sort --limit --bits --no-bits --asn-db --country-db --theme --no-resolve --resolve --db --no-record --by --retention --keep-remotes --max-size --store-cmdlines --ship --from --password-file --host --cluster --bind --metrics --metrics-labels --otlp --token-file --trust-user --open --allow-host --chart-js --config --no-config" -- "$current")
}
complete -F _bwtop bwtop
