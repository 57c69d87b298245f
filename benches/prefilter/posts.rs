//! Posts to scan: the load generator's, recorded ones, and the worst we could think of.

use vigie::parse::{Author, Format, Frame, Network, Parser, Post};
use vigie::source::FrameBatch;

use super::parts;

/// Frames and the posts in them.
pub(crate) struct Posts {
    pub(crate) name: &'static str,
    batch: FrameBatch,
    pub(crate) posts: Vec<Post<'static>>,
    /// How many of them match: a fast wrong answer is no answer.
    pub(crate) candidates: usize,
}

impl Posts {
    fn new(name: &'static str, format: Format, frames: &[String], candidates: usize) -> Posts {
        let batch = parts::batch(format, frames);
        let mut parser = Parser::new(format);
        let mut posts = Vec::new();
        for frame in frames {
            let mut frame = frame.clone().into_bytes();
            if let Ok(parsed) = parser.parse(&mut frame)
                && let Frame::Post(post) = parsed.frame
            {
                posts.push(post.into_owned());
            }
        }
        Posts { name, batch, posts, candidates }
    }

    pub(crate) fn batch(&self) -> FrameBatch {
        parts::copy(&self.batch)
    }
}

/// As the load generator serves them; one in a hundred asks for support.
pub(crate) fn generated() -> Posts {
    Posts::new("generated jetstream", Format::Jetstream, &parts::generated(4_096, 0.01), 43)
}

/// None where the recording is not there.
pub(crate) fn recorded() -> Option<Posts> {
    let frames = parts::recorded("jetstream_reenveloped.jsonl")?;
    Some(Posts::new("recorded jetstream", Format::Jetstream, &frames, 0))
}

/// 64 KiB of nothing but service words: half a hit a word, and not one that a rule cannot do without.
pub(crate) fn service_words() -> Posts {
    plain("64 KiB of service words", &"panne help ".repeat(6_000))
}

/// 64 KiB of words that begin terms and do not end them.
pub(crate) fn near_misses() -> Posts {
    plain("64 KiB of near misses", &"lumio mobil la banque kor ".repeat(2_600))
}

/// A post that holds a name and a service word, so that nothing of a scan is left out.
pub(crate) fn any() -> Post<'static> {
    Post::new(Network::Plain, "1".into(), Author::default(), "lumio en panne, merci".into())
}

fn plain(name: &'static str, text: &str) -> Posts {
    let frame = serde_json::json!({ "id": "1", "author": "a", "text": text }).to_string();
    Posts::new(name, Format::Plain, &vec![frame; 8], 0)
}
