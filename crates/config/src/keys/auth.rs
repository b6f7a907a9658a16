//! Keys of authentication, quotas and bandwidth.

use std::num::{NonZeroU32, NonZeroU64};

use super::{Key, Support, Toml, Value, number, unread, unset, unused};
use crate::apply;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lt-cred-mech",
        Value::Flag(|draft, on| draft.long_term = on),
        Support::Built,
        "0",
        "Static accounts may authenticate",
    )
    .short('a'),
    Key::new(
        "no-auth",
        Value::Flag(|draft, on| draft.settings.anonymous = on),
        Support::Built,
        "0",
        "Anyone may relay: an open relay, for tests only",
    )
    .toml(Toml::Named("anonymous"))
    .short('z'),
    Key::new(
        "user",
        Value::Text("NAME:PASSWORD", apply::user),
        Support::Built,
        "",
        "Static account, with a password or with 0x and the key MD5(name:realm:password)",
    )
    .toml(Toml::Within("auth.users"))
    .short('u')
    .repeats()
    .secret(),
    Key::new(
        "user-file",
        Value::Text("FILE", apply::user_file),
        Support::Built,
        "",
        "File with an account on each line, as `user` has it; systemd's credential `users` is read without being named",
    )
    .repeats()
    .own(),
    Key::new(
        "userdb",
        Value::Text("FILE", unread),
        Support::Obsolete(NO_DATABASE),
        "",
        "SQLite file of accounts",
    )
    .short('b'),
    Key::new(
        "db",
        Value::Text("FILE", unread),
        Support::Obsolete(NO_DATABASE),
        "",
        "The same as userdb",
    ),
    Key::new(
        "psql-userdb",
        Value::Text("CONNECTION", unread),
        DATABASE_REFUSED,
        "",
        "PostgreSQL database of accounts",
    )
    .short('e')
    .secret(),
    Key::new(
        "sql-userdb",
        Value::Text("CONNECTION", unread),
        DATABASE_REFUSED,
        "",
        "The same as psql-userdb",
    )
    .secret(),
    Key::new(
        "mysql-userdb",
        Value::Text("CONNECTION", unread),
        DATABASE_REFUSED,
        "",
        "MySQL database of accounts",
    )
    .short('M')
    .secret(),
    Key::new(
        "secret-key-file",
        Value::Text("FILE", unread),
        Support::Obsolete("it goes with mysql-userdb, which is not supported"),
        "",
        "Key of an encrypted MySQL password",
    ),
    Key::new(
        "mongo-userdb",
        Value::Text("CONNECTION", unread),
        DATABASE_REFUSED,
        "",
        "MongoDB database of accounts",
    )
    .short('J')
    .secret(),
    Key::new(
        "redis-userdb",
        Value::Text("CONNECTION", unread),
        DATABASE_REFUSED,
        "",
        "Redis database of accounts",
    )
    .short('N')
    .secret(),
    Key::new(
        "use-auth-secret",
        Value::Always(|draft| draft.secret = true),
        Support::Built,
        "0",
        "Time-limited credentials made from a shared secret may authenticate",
    ),
    Key::new(
        "static-auth-secret",
        Value::Text("SECRET", apply::static_auth_secret),
        Support::Built,
        "",
        "Shared secret of time-limited credentials; several at once allow a rotation",
    )
    .repeats()
    .secret(),
    Key::new(
        "static-auth-secret-file",
        Value::Text("FILE", apply::static_auth_secret_file),
        Support::Built,
        "",
        "File with a shared secret on each line; systemd's credential `static-auth-secret` is read without being named",
    )
    .repeats()
    .own(),
    Key::new(
        "rest-api-separator",
        Value::Text("CHARACTER", apply::rest_api_separator),
        Support::Built,
        ":",
        "Character between expiry and user in a time-limited username",
    )
    .short('C'),
    Key::new(
        "no-auth-pings",
        Value::Always(unset),
        Support::Ignored("it is about account databases, which are not used"),
        "0",
        "Does not check the connections to account databases",
    ),
    Key::new(
        "no-dynamic-ip-list",
        Value::Always(unset),
        Support::Ignored("it is about account databases, which are not used"),
        "0",
        "Does not read peer rules from a database",
    ),
    Key::new(
        "no-dynamic-realms",
        Value::Always(unset),
        Support::Ignored("it is about account databases, which are not used"),
        "0",
        "Does not read realms from a database",
    ),
    Key::new(
        "realm",
        Value::Text("REALM", apply::realm),
        Support::Built,
        "",
        "Realm of the credentials, usually the domain; needed with static accounts",
    )
    .short('r'),
    Key::new(
        "server-name",
        Value::Text("NAME", unread),
        Support::Ignored("it goes with oauth, which is not supported"),
        "",
        "Server name in OAuth access tokens",
    ),
    Key::new(
        "oauth",
        Value::Flag(unused),
        Support::Refused {
            reason: "clients would not be asked for the tokens the file expects (RFC 7635)",
            help: "remove the line and write `use-auth-secret` and `static-auth-secret=…`",
        },
        "0",
        "Access tokens of RFC 7635 may authenticate",
    ),
    Key::new(
        "check-origin-consistency",
        Value::Flag(unused),
        Support::Obsolete("ORIGIN never left its draft and is not looked at"),
        "0",
        "Wants the same ORIGIN throughout a session",
    ),
    Key::new(
        "secure-stun",
        Value::Flag(|draft, on| draft.settings.secure_stun = on),
        Support::Built,
        "0",
        "Binding requests need credentials",
    ),
    Key::new(
        "fingerprint",
        Value::Flag(|draft, on| draft.settings.fingerprint = on),
        Support::Built,
        "0",
        "FINGERPRINT in every answer, not only to requests that carry one",
    )
    .short('f'),
    Key::new(
        "strict-expiry",
        Value::Word(&["off", "refresh", "expiry"], apply::strict_expiry),
        Support::Built,
        "off",
        "Whether a session may outlive its time-limited credential: off lets it, refresh refuses Refreshes, expiry ends it",
    )
    .own(),
];

pub(super) const QUOTAS: &[Key] = &[
    Key::new(
        "user-quota",
        number(0..=u32::MAX as u64, "allocations", |draft, count| {
            draft.settings.user_quota = NonZeroU32::new(count as u32);
        }),
        Support::Built,
        "12",
        "Allocations one user may hold at a time; 0 is no limit",
    )
    .short('q'),
    Key::new(
        "total-quota",
        number(0..=u32::MAX as u64, "allocations", |draft, count| {
            draft.settings.total_quota = NonZeroU32::new(count as u32);
        }),
        Support::Built,
        "1200",
        "Allocations of the whole server; 0 is no limit",
    )
    .short('Q'),
    Key::new(
        "max-bps",
        number(0..=u64::MAX, "bytes/s", |draft, rate| draft.settings.max_rate = NonZeroU64::new(rate)),
        Support::Built,
        "0",
        "Bytes, not bits, per second of one allocation in each direction, over which data is dropped; 0 is no limit",
    )
    .toml(Toml::Named("max-rate"))
    .short('s'),
    Key::new(
        "bps-capacity",
        number(0..=u64::MAX, "bytes/s", |draft, rate| draft.settings.capacity = NonZeroU64::new(rate)),
        Support::Built,
        "0",
        "Bytes per second of the whole server, of which each allocation has max-bps reserved; 0 is no limit",
    )
    .toml(Toml::Named("capacity"))
    .short('B'),
];

const NO_DATABASE: &str = "accounts in a database are not read, and the server does not start if this file holds any; static \
                           accounts are given with `user=name:password`";
const DATABASE_REFUSED: Support = Support::Refused {
    reason: "accounts in a database are not read, so its users could not authenticate",
    help: "remove the line and give the accounts with `user=name:password`, or write `use-auth-secret` and \
           `static-auth-secret=…`",
};
