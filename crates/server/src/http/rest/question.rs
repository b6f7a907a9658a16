//! What a client of the credential endpoint asks for. Owns the parameters of the TURN REST draft, their other names and their bounds;
//! knows no key and no secret.

use std::fmt;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use turnbuckle_config::opaque_string;

/// A request whose parameters are good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Behind the expiry in the user name; prepared by OpaqueString (RFC 8265 §4.2).
    pub(super) username: String,
    /// Seconds; never 0.
    pub(super) ttl: Option<u64>,
    pub(super) shape: Shape,
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `username`, `password`, `ttl` and `uris`: the TURN REST draft, and Matrix' `turnServer`.
    Turn,
    /// `RTCIceServer[]` of WebRTC.
    Ice,
}

/// A parameter that is missing or cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Empty where the whole request is meant.
    pub(super) field: &'static str,
    pub(super) message: String,
}

/// The parameters of a request, each at most once.
#[derive(Default)]
pub(super) struct Parameters {
    service: Option<String>,
    username: Option<String>,
    key: Option<String>,
    ttl: Option<String>,
    format: Option<String>,
}

impl Parameters {
    /// Those of the query, and of the form in the body of a POST. Others than the known ones are left alone, as clients send more.
    pub(super) fn read(
        method: &Method,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Wrong> {
        let mut all = Self::default();
        all.add(query.as_bytes())?;
        if method == Method::POST && !body.is_empty() {
            let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let is_form = |kind: &[u8]| {
                let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
                kind.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes())
            };
            if !kind.is_none_or(is_form) {
                return Err(Wrong::new("", format!("a body has to be {FORM}")));
            }
            all.add(body)?;
        }
        Ok(all)
    }

    fn add(&mut self, pairs: &[u8]) -> Result<(), Wrong> {
        for (name, value) in form_urlencoded::parse(pairs) {
            let (field, place) = match &*name {
                "service" => ("service", &mut self.service),
                "username" => ("username", &mut self.username),
                // Janus calls it by both names.
                "key" | "api" => ("key", &mut self.key),
                "ttl" => ("ttl", &mut self.ttl),
                "format" => ("format", &mut self.format),
                _ => continue,
            };
            match place {
                Some(before) if *before != *value => {
                    return Err(Wrong::new(
                        field,
                        "it is given twice, and differs".to_owned(),
                    ));
                }
                _ => *place = Some(value.into_owned()),
            }
        }
        Ok(())
    }

    /// The API key: the parameter, or what stands behind `Authorization: Bearer`.
    pub(super) fn key<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        let bearer = || {
            let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        };
        self.key
            .as_deref()
            .or_else(bearer)
            .filter(|key| !key.is_empty())
    }

    /// Fails with the first parameter that is not good.
    pub(super) fn question(self) -> Result<Question, Wrong> {
        match self.service.as_deref() {
            Some("turn") => {}
            None => {
                return Err(Wrong::new(
                    "service",
                    "it is missing: write `service=turn`".to_owned(),
                ));
            }
            Some(_) => return Err(Wrong::new("service", "only `turn` is served".to_owned())),
        }
        let username = self.username.filter(|name| !name.is_empty());
        let username = username.ok_or_else(|| {
            Wrong::new(
                "username",
                "it is missing: name the user that the credential is for".to_owned(),
            )
        })?;
        if username.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Wrong::new("username", "it is not UTF-8".to_owned()));
        }
        let username = opaque_string(&username, "it", false)
            .map_err(|message| Wrong::new("username", message))?;
        if username.len() > USERNAME_MAX_BYTES {
            return Err(Wrong::new(
                "username",
                format!("it is longer than {USERNAME_MAX_BYTES} bytes"),
            ));
        }
        let ttl = self.ttl.map(|text| match text.parse() {
            Ok(0) | Err(_) => Err(Wrong::new(
                "ttl",
                "it has to be a number of seconds above 0".to_owned(),
            )),
            Ok(seconds) => Ok(seconds),
        });
        let shape = match self.format.as_deref() {
            None | Some("turn") => Shape::Turn,
            Some("ice") => Shape::Ice,
            Some(_) => return Err(Wrong::new("format", "it is `turn` or `ice`".to_owned())),
        };
        Ok(Question {
            username,
            ttl: ttl.transpose()?,
            shape,
        })
    }
}

impl Wrong {
    fn new(field: &'static str, message: String) -> Self {
        Self { field, message }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            "" => f.write_str(&self.message),
            field => write!(f, "`{field}`: {}", self.message),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
/// With an expiry of up to 20 digits and a separator of up to 4 bytes, less than the 509 bytes of a USERNAME (RFC 8489 §14.3).
const USERNAME_MAX_BYTES: usize = 480;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Question, Wrong> {
        Parameters::read(&Method::GET, query, &HeaderMap::new(), b"")?.question()
    }

    #[test]
    fn what_the_draft_and_others_send() {
        for (query, username, ttl, shape) in [
            ("service=turn&username=alice", "alice", None, Shape::Turn),
            (
                "username=%40a%3Ab.org&service=turn&ttl=60&format=ice&more=x",
                "@a:b.org",
                Some(60),
                Shape::Ice,
            ),
            (
                "service=turn&service=turn&username=a+b&format=turn",
                "a b",
                None,
                Shape::Turn,
            ),
        ] {
            let expected = Question {
                username: username.to_owned(),
                ttl,
                shape,
            };
            assert_eq!(read(query), Ok(expected));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("service=turn&username={}", "a".repeat(481));
        for (query, field) in [
            ("", "service"),
            ("service=stun&username=a", "service"),
            ("service=turn", "username"),
            ("service=turn&username=", "username"),
            ("service=turn&username=%00", "username"),
            ("service=turn&username=a%0Ab", "username"),
            ("service=turn&username=a&username=b", "username"),
            ("service=turn&username=%FF%FE", "username"),
            (&long, "username"),
            ("service=turn&username=a&ttl=0", "ttl"),
            ("service=turn&username=a&ttl=-1", "ttl"),
            ("service=turn&username=a&ttl=1e9", "ttl"),
            ("service=turn&username=a&ttl=18446744073709551616", "ttl"),
            ("service=turn&username=a&format=xml", "format"),
        ] {
            assert_eq!(
                read(query).map_err(|wrong| wrong.field),
                Err(field),
                "{query}"
            );
        }
    }

    #[test]
    fn keys_by_each_of_their_names() {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_static("bearer  from-header"),
        );
        for (query, key) in [
            ("key=a", Some("a")),
            ("api=a", Some("a")),
            ("api=a&key=a", Some("a")),
            ("key=", None),
            ("", Some("from-header")),
        ] {
            let all = Parameters::read(&Method::GET, query, &headers, b"").unwrap();
            assert_eq!(all.key(&headers), key, "{query}");
        }
        for value in ["Basic YTpi", "bearer", "bearer "] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            let all = Parameters::default();
            assert_eq!(all.key(&headers), None, "{value}");
        }
        let both = Parameters::read(&Method::GET, "api=a&key=b", &headers, b"");
        assert_eq!(both.err().map(|wrong| wrong.field), Some("key"));
    }

    #[test]
    fn forms_are_read_from_the_body_of_a_post() {
        let mut headers = HeaderMap::new();
        let post = |headers: &HeaderMap| {
            let body = b"username=alice&key=k";
            Parameters::read(&Method::POST, "service=turn", headers, body)?.question()
        };
        assert_eq!(post(&headers).unwrap().username, "alice");
        let form = "Application/x-www-form-urlencoded; charset=utf-8";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        assert_eq!(post(&headers).unwrap().username, "alice");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert_eq!(post(&headers).unwrap_err().field, "");
    }

    /// Whatever comes, the answer is a name that can stand in a USERNAME, or a fault.
    #[test]
    fn random_bytes_are_no_danger() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let alphabet = b"service=turn&username=%&+;:\0\xff\xc3\xa9keyapittlformat0129";
        for _ in 0..20_000 {
            let mut bytes = b"service=turn&username=".to_vec();
            for _ in 0..state % 40 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(alphabet[(state % alphabet.len() as u64) as usize]);
            }
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let headers = HeaderMap::new();
            let all = Parameters::read(&Method::POST, "", &headers, &bytes);
            if let Ok(question) = all.and_then(Parameters::question) {
                assert!(!question.username.is_empty() && question.username.len() <= 480);
                assert!(!question.username.chars().any(char::is_control));
                assert_ne!(question.ttl, Some(0));
            }
        }
    }
}
