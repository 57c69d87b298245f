//! What must hold of any frame, whoever sends it.

use super::select::Selector;
use super::{Format, Frame, Malformed, Parsed, Parser, Post, html, position, x_v1};

/// A frame is read alike by a new parser, by one that has read it before, by simd-json alone and for somebody
/// who passes posts over; and what is made of it is no larger than what came.
pub(crate) fn frame(format: Format, data: &[u8]) {
    let mut parser = Parser::new(format);
    let parsed = read(&mut parser, data);
    assert_eq!(read(&mut parser, data), parsed, "by a parser that has read it before");

    let in_full = read(&mut Parser::in_full(format), data);
    let is_less_sharp = format == Format::XV1 && in_full == Err(Malformed::NotJson) && is_selected(data);
    assert!(parsed == in_full || is_less_sharp, "{parsed:?} is {in_full:?} in full");

    passing_over(&mut parser, data, &parsed);
    let Ok(parsed) = parsed else { return };
    assert_eq!(position(format, data), parsed.position);
    let Frame::Post(post) = parsed.frame else { return };
    assert!(!post.id.is_empty(), "a post without an id");
    let bytes = bytes_of(&post);
    assert!(bytes <= data.len() * 4 + 1024, "{} bytes became {bytes}", data.len());
    drop(post.url());
}

/// The fields of a status, with enough around them for all else to matter.
pub(crate) fn select(data: &[u8]) {
    let around = [br#"{"id_str":"1","text":"a","user":{"id":2},"#.as_slice(), data, b"}"].concat();
    frame(Format::XV1, &around);
}

/// Any text has a text, which is no longer than entities make it; links are where tags are.
pub(crate) fn html(data: &[u8]) {
    let Ok(html) = std::str::from_utf8(data) else { return };
    let mut links = Vec::new();
    let text = html::text(html, &mut links);
    assert!(text.len() <= html.len() * 2 + 8, "{} bytes became {}", html.len(), text.len());
    assert!(links.len() <= html.matches('<').count());
    assert_eq!(text.trim(), text);
    if !html.contains(['<', '&']) {
        assert_eq!(text, html.trim());
    }
}

fn read(parser: &mut Parser, data: &[u8]) -> Result<Parsed<'static>, Malformed> {
    parser.parse(&mut data.to_vec()).map(owned)
}

/// Whether simd-json is not asked.
fn is_selected(data: &[u8]) -> bool {
    let mut frame = data.to_vec();
    Selector::default().read(&mut &mut *frame, &x_v1::LINE, &mut Vec::new()).is_some()
}

/// Who passes over nothing gets what everybody gets; what is passed over is what was shown.
fn passing_over(parser: &mut Parser, data: &[u8], parsed: &Result<Parsed<'static>, Malformed>) {
    for says in [false, true] {
        let mut shown = None;
        let mut frame = data.to_vec();
        let unless = parser.parse_unless(&mut frame, &mut |post| {
            shown = Some(post.clone().into_owned());
            says
        });
        let unless = unless.map(owned);
        match (parsed, shown) {
            (Ok(Parsed { position, frame: Frame::Post(post) }), Some(shown)) => {
                assert_eq!(
                    (shown.network, &shown.author, &shown.text),
                    (post.network, &post.author, &post.text)
                );
                assert_eq!((&shown.quoted_text, &shown.reply_to), (&post.quoted_text, &post.reply_to));
                assert_eq!((&shown.mentions, &shown.hashtags), (&post.mentions, &post.hashtags));
                assert!(!post.edited, "an edited post was shown");
                let over = Ok(Parsed { position: *position, frame: Frame::PassedOver });
                assert_eq!(&unless, if says { &over } else { parsed });
            }
            _ => assert_eq!(&unless, parsed, "passing over: {says}"),
        }
    }
}

fn bytes_of(post: &Post<'_>) -> usize {
    let optional = [
        &post.page,
        &post.author.handle,
        &post.author.name,
        &post.quoted_text,
        &post.language,
        &post.reply_to,
        &post.quote_of,
        &post.reposted_by,
    ];
    let lists = [&post.mentions, &post.hashtags, &post.links];
    post.id.len()
        + post.author.id.len()
        + post.text.len()
        + optional.into_iter().flatten().map(|text| text.len()).sum::<usize>()
        + lists.into_iter().flatten().map(|text| text.len()).sum::<usize>()
}

/// `parsed`, independent of its frame.
pub(super) fn owned(parsed: Parsed<'_>) -> Parsed<'static> {
    let frame = match parsed.frame {
        Frame::Post(post) => Frame::Post(Box::new(post.into_owned())),
        Frame::PostDeleted { network, id } => Frame::PostDeleted { network, id: id.into_owned().into() },
        Frame::AccountDeleted { network, author_id } => {
            Frame::AccountDeleted { network, author_id: author_id.into_owned().into() }
        }
        Frame::PassedOver => Frame::PassedOver,
        Frame::Control => Frame::Control,
    };
    Parsed { position: parsed.position, frame }
}
