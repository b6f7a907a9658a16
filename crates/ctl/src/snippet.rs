//! `turnctl snippet`: what another program is to be told of the server, in that program's own configuration format. Owns the list of
//! consumers and what goes to standard output and what beside it; where clients reach the server is in `description`.

mod description;
mod matrix;
mod meetings;
mod merge;
mod quote;
mod single;
mod wellknown;

use crate::Output;
use crate::cli::{Consumer, SnippetArgs};
use crate::configuration::Configuration;
use crate::failure::Failure;
use description::Description;

/// The configuration for one consumer; `now` is seconds since 1970-01-01 00:00 UTC.
pub(crate) fn run(args: &SnippetArgs, now: u64) -> Result<Output, Failure> {
    let render: fn(&Description) -> Result<Snippet, Failure> = match args.consumer {
        // These two say nothing that the server's configuration does.
        Consumer::Wellknown => return wellknown::run(args),
        Consumer::ElementWeb => return Ok(output(matrix::element_web(), &[])),
        Consumer::Synapse => matrix::synapse,
        Consumer::Dendrite => matrix::dendrite,
        Consumer::Tuwunel => matrix::tuwunel,
        Consumer::Conduit => matrix::conduit,
        Consumer::Prosody => meetings::prosody,
        Consumer::Ejabberd => meetings::ejabberd,
        Consumer::Jitsi => meetings::jitsi,
        Consumer::NextcloudTalk => meetings::nextcloud_talk,
        Consumer::Livekit => meetings::livekit,
        Consumer::Bigbluebutton => meetings::bigbluebutton,
        Consumer::HomeAssistant => single::home_assistant,
        Consumer::Janus => single::janus,
        Consumer::Galene => single::galene,
    };
    let configuration = Configuration::read(&args.source)?;
    let server = Description::of(&configuration, args, now)?;
    Ok(output(render(&server)?, &server.notes))
}

/// What one consumer is told.
pub(super) struct Snippet {
    /// For its configuration, with comments where its format has them.
    pub(super) text: String,
    /// What the operator should know beside it.
    pub(super) notes: Vec<String>,
}

impl Snippet {
    fn new(text: String) -> Self {
        Self {
            text,
            notes: Vec::new(),
        }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

fn output(snippet: Snippet, of_server: &[String]) -> Output {
    let notes: Vec<&str> = of_server
        .iter()
        .chain(&snippet.notes)
        .map(String::as_str)
        .collect();
    Output {
        text: snippet.text,
        note: (!notes.is_empty()).then(|| notes.join("\nnote: ")),
        status: 0,
    }
}
