//! `turnctl password`: the password of a user.

use turnbuckle_config::UserCredential;
use turnbuckle_proto::rest;

use crate::Output;
use crate::cli::PasswordArgs;
use crate::configuration::Configuration;
use crate::failure::Failure;

/// The password of a time-limited name, made from the secret, or of a static account, as the file has it; one line.
pub(crate) fn run(args: &PasswordArgs) -> Result<Output, Failure> {
    let configuration = Configuration::read(&args.source)?;
    let settings = &configuration.settings;
    if rest::parse(&args.user, settings.rest_separator).is_some() {
        let password = rest::password(configuration.secret()?.expose().as_bytes(), &args.user);
        return Ok(line(password.as_str()));
    }
    match settings.users.iter().find(|user| user.name == args.user).map(|user| &user.credential) {
        Some(UserCredential::Password(password)) => Ok(line(password.expose())),
        Some(UserCredential::Key(_)) => Err(Failure::new(format!(
            "{} has the key of `{}`, not the password",
            configuration.origin, args.user
        ))
        .help("a password cannot be got from its key; whoever made the key knows it")),
        None => Err(Failure::new(format!("{} has no account `{}`", configuration.origin, args.user)).help(
            "`turnctl credentials` makes a time-limited name and its password; an account is a line `user=name:password`",
        )),
    }
}

fn line(password: &str) -> Output {
    Output::new(format!("{password}\n"))
}
