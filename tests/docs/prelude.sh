# Stands before each command: what a page takes for granted of the host is put in its place.
# SITE is the directory of the running server, PORT its port; both are empty where the command needs none.

turnctl() {
    case $1 in
    status | info | sessions | disconnect | top | loglevel | reload | drain | explain | revoke | unrevoke | revoked | version)
        set -- "$@" --socket "$SITE/admin.sock"
        ;;
    check)
        # The listeners of the page's file are not there; those of the server are.
        set -- check -c "$SITE/turnserver.conf"
        ;;
    credentials | password | snippet)
        case " $* " in
        *" -c "* | *" --secret-file "*) ;;
        *) set -- "$@" -c turnserver.conf ;;
        esac
        ;;
    detect-ip)
        set -- "$@:$PORT"
        ;;
    esac
    "$TURNCTL" "$@"
}

cargo() {
    case "$*" in
    "run --release -p turnctl -- "*)
        shift 5
        turnctl "$@"
        ;;
    "run --release -- "*)
        shift 3
        "$TURNBUCKLE" "$@"
        ;;
    *)
        echo "nothing stands in for: cargo $*" >&2
        return 1
        ;;
    esac
}
