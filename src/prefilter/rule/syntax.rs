//! The text of a rule → [`Expression`].
//!
//! The language is X's filtered stream (docs.x.com, "Build a rule"), as far as one post can answer it:
//!
//! ```text
//! rule     = all { "OR" all }                 a space binds tighter than OR
//! all      = unit { unit }
//! unit     = [ "-" ] ( "(" rule ")" | operator )
//! operator = word | "\"" phrase "\"" | #tag | @user | from:USER | to:USER | lang:XX
//!          | is:reply|quote|repost|retweet|verified | has:links|hashtags|mentions|media
//! ```
//!
//! Wider than X: a group may be negated, `is:repost` is another word for `is:retweet`, and a word with
//! punctuation (`coca-cola`) is the phrase of its parts. `to:USER` is a reply that mentions the account,
//! since a post does not say whom its parent is by (Bluesky: `to:did:…` compares the parent's author).

use super::super::term::{self, Term};

/// Longest rule, in characters: what X sells enterprises.
pub(in crate::prefilter) const RULE_CHARS_MAX: usize = 2_048;
/// Deepest group in a group: a person cannot read more; it bounds the recursion.
const DEPTH_MAX: usize = 32;
const SUPPORTED: &str = "supported are words, \"exact phrases\", #tag, @user, from:, to:, lang:, \
    is:reply|quote|repost|retweet|verified, has:links|hashtags|mentions|media, OR, - and ( )";

/// Where a rule stands, and so which words it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prefilter) enum Dialect {
    /// `handle`, `hashtag`, `name` and `trigger` are the brand's terms of that class.
    Listen,
    /// They are words like others.
    Rule,
}

/// A rule as written.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::prefilter) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Leaf(Leaf),
    Is(Condition),
}

/// What is looked up in a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::prefilter) enum Leaf {
    Term(Term),
    Class(TermClass),
    /// Written by this account, in lower case without `@`.
    From(String),
    /// Answers a post by this DID.
    ToDid(String),
}

/// A brand's terms of one kind, in the order of a brand's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prefilter) enum TermClass {
    Handle,
    Hashtag,
    Name,
    Trigger,
}

/// What a post says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::prefilter) enum Condition {
    Reply,
    Quote,
    Repost,
    Verified,
    Links,
    Hashtags,
    Mentions,
    Media,
    /// Primary subtag in lower case.
    Language(String),
}

/// Why a rule, or a part of it, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::prefilter) struct Problem {
    /// In characters before it.
    pub(in crate::prefilter) position: usize,
    pub(in crate::prefilter) message: String,
}

/// Reads a rule.
///
/// # Errors
///
/// Every operator that is not known, and the first thing that breaks the grammar.
pub(in crate::prefilter) fn parse(text: &str, dialect: Dialect) -> Result<Expression, Vec<Problem>> {
    let chars = text.chars().count();
    if chars > RULE_CHARS_MAX {
        let message = format!("{chars} characters: a rule has at most {RULE_CHARS_MAX}");
        return Err(vec![Problem { position: RULE_CHARS_MAX, message }]);
    }
    let mut parser = Parser { text, at: 0, depth: 0, dialect, problems: Vec::new() };
    let parsed = parser.any().and_then(|expression| match parser.peek() {
        None => Ok(expression),
        // `any` ends at the end or at this.
        Some(_) => Err(parser.problem(parser.at, "`)` closes no group")),
    });
    let expression = match parsed {
        Ok(expression) => Some(expression),
        Err(problem) => {
            parser.problems.push(problem);
            None
        }
    };
    expression.filter(|_| parser.problems.is_empty()).ok_or(parser.problems)
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    depth: usize,
    dialect: Dialect,
    /// Mistakes after which the rest can still be read.
    problems: Vec<Problem>,
}

impl<'t> Parser<'t> {
    fn any(&mut self) -> Result<Expression, Problem> {
        let mut any = vec![self.all()?];
        while self.eat_or() {
            any.push(self.all()?);
        }
        Ok(one_or(any, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Problem> {
        let mut all = Vec::new();
        self.skip_spaces();
        while self.peek().is_some_and(|next| next != ')') && !self.at_or() {
            all.push(self.unit()?);
            self.skip_spaces();
        }
        if all.is_empty() {
            let found = match self.peek() {
                None => "but the rule ends",
                Some(')') => "before `)`",
                Some(_) => "before `OR`",
            };
            return Err(self.problem(self.at, &format!("a term is expected {found}")));
        }
        Ok(one_or(all, Expression::All))
    }

    fn unit(&mut self) -> Result<Expression, Problem> {
        let start = self.at;
        if !self.eat('-') {
            return self.operand();
        }
        match self.peek() {
            None | Some(' ' | ')' | '-') => {
                Err(self.problem(start, "`-` must touch the one thing it negates"))
            }
            Some(_) => Ok(Expression::Not(Box::new(self.operand()?))),
        }
    }

    fn operand(&mut self) -> Result<Expression, Problem> {
        let start = self.at;
        if self.eat('(') {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.problem(start, &format!("groups are nested more than {DEPTH_MAX} deep")));
            }
            let group = self.any()?;
            if !self.eat(')') {
                return Err(self.problem(start, "`(` is never closed"));
            }
            self.depth -= 1;
            return Ok(group);
        }
        if let Some(phrase) = self.quoted()? {
            if self.peek() == Some('~') {
                self.take_while(|next| next == '~' || next.is_ascii_digit());
                self.unsupported(start, "the proximity operator `~`");
            }
            let term = Term::phrase(phrase);
            return Ok(self.leaf(start, term));
        }
        let word = self.take_while(|next| !next.is_whitespace() && !matches!(next, '(' | ')' | '"'));
        if word.is_empty() {
            return Err(self.problem(start, "a term is expected"));
        }
        self.word(start, word)
    }

    /// The phrase between quotes, if one begins here.
    fn quoted(&mut self) -> Result<Option<&'t str>, Problem> {
        let start = self.at;
        if !self.eat('"') {
            return Ok(None);
        }
        let phrase = self.take_while(|next| next != '"');
        if self.eat('"') { Ok(Some(phrase)) } else { Err(self.problem(start, "`\"` is never closed")) }
    }

    fn word(&mut self, start: usize, word: &str) -> Result<Expression, Problem> {
        if self.dialect == Dialect::Listen {
            let class = match word {
                "handle" => Some(TermClass::Handle),
                "hashtag" => Some(TermClass::Hashtag),
                "name" => Some(TermClass::Name),
                "trigger" => Some(TermClass::Trigger),
                _ => None,
            };
            if let Some(class) = class {
                return Ok(Expression::Leaf(Leaf::Class(class)));
            }
            // One letter off would match nothing for ever, and nobody would know why.
            let near = |class: &&str| strsim::damerau_levenshtein(word, class) <= 2;
            if let Some(class) = ["handle", "hashtag", "name", "trigger"].into_iter().find(near) {
                return Err(self.problem(start, &format!("did you mean {class}? Quote it to mean the word")));
            }
        }
        match word {
            "XOR" | "NOR" => {
                return Err(self.problem(start, "there is no such operator; quote it to mean the word"));
            }
            "AND" => return Err(self.problem(start, "a space already means AND; quote it to mean the word")),
            "NOT" => return Err(self.problem(start, "write `-` for NOT; quote it to mean the word")),
            _ => {}
        }
        if let Some((operator, value)) = word.split_once(':')
            && !operator.is_empty()
            && operator.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '_')
        {
            return self.operator(start, &operator.to_ascii_lowercase(), value);
        }
        let term = match word.chars().next() {
            Some('#' | '＃') => Term::tag(word),
            Some('@' | '＠') => Term::mention(word),
            Some('$') if word.len() > 1 => {
                self.unsupported(start, &format!("the cashtag `{word}`"));
                Term::phrase("-")
            }
            _ if word.contains('*') => {
                self.unsupported(start, "the wildcard `*`");
                Term::phrase("-")
            }
            _ => Term::phrase(word),
        };
        Ok(self.leaf(start, term))
    }

    fn operator(&mut self, start: usize, operator: &str, value: &str) -> Result<Expression, Problem> {
        if !value.is_empty() || !matches!(self.peek(), Some('"')) {
            if let Some(known) = self.known(start, operator, value) {
                return Ok(known);
            }
            // `point_radius:[2.35 48.85 10km]` is one operator.
            if value.starts_with('[') && !value.ends_with(']') {
                self.take_while(|next| next != ']');
                self.eat(']');
            }
        } else {
            self.quoted()?;
            self.unsupported(start, &format!("`{operator}:\"…\"`"));
        }
        // Stands for what cannot be read, so that the rest is.
        Ok(Expression::Is(Condition::Reply))
    }

    /// The operator's meaning, or a problem noted.
    fn known(&mut self, start: usize, operator: &str, value: &str) -> Option<Expression> {
        let lower = value.to_lowercase();
        let condition = match (operator, lower.as_str()) {
            ("from" | "to" | "lang" | "is" | "has", "") => {
                let problem = self.problem(start, &format!("`{operator}:` has no value"));
                self.problems.push(problem);
                return None;
            }
            ("from", account) => return Some(Expression::Leaf(Leaf::From(term::account(account).into()))),
            ("to", did) if did.starts_with("did:") => return Some(Expression::Leaf(Leaf::ToDid(lower))),
            ("to", _) => {
                let mentions = self.leaf(start, Term::mention(value));
                return Some(Expression::All(vec![mentions, Expression::Is(Condition::Reply)]));
            }
            ("lang", language) => {
                Condition::Language(language.split(['-', '_']).next().unwrap_or_default().into())
            }
            ("is", "reply") => Condition::Reply,
            ("is", "quote") => Condition::Quote,
            ("is", "repost" | "retweet") => Condition::Repost,
            ("is", "verified") => Condition::Verified,
            ("has", "links") => Condition::Links,
            ("has", "hashtags") => Condition::Hashtags,
            ("has", "mentions") => Condition::Mentions,
            ("has", "media") => Condition::Media,
            _ => {
                self.unsupported(start, &format!("`{operator}:{value}`"));
                return None;
            }
        };
        Some(Expression::Is(condition))
    }

    fn leaf(&mut self, start: usize, term: Result<Term, String>) -> Expression {
        match term {
            Ok(term) => Expression::Leaf(Leaf::Term(term)),
            Err(message) => {
                let problem = self.problem(start, &message);
                // What is already said to be unsupported is not also said to be empty.
                if self.problems.last().is_none_or(|last| last.position != problem.position) {
                    self.problems.push(problem);
                }
                Expression::Is(Condition::Reply)
            }
        }
    }

    fn unsupported(&mut self, start: usize, what: &str) {
        let problem = self.problem(start, &format!("{what} is not supported: {SUPPORTED}"));
        self.problems.push(problem);
    }

    fn problem(&self, at: usize, message: &str) -> Problem {
        let position = self.text.get(..at).map_or(0, |before| before.chars().count());
        Problem { position, message: message.into() }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, expected: char) -> bool {
        let eaten = self.peek() == Some(expected);
        if eaten {
            self.at += expected.len_utf8();
        }
        eaten
    }

    fn at_or(&self) -> bool {
        let after = self.rest().strip_prefix("OR");
        after
            .is_some_and(|after| after.chars().next().is_none_or(|c| c.is_whitespace() || "()\"".contains(c)))
    }

    fn eat_or(&mut self) -> bool {
        let eaten = self.at_or();
        if eaten {
            self.at += "OR".len();
        }
        eaten
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> &'t str {
        let rest = self.rest();
        let len = rest.find(|next| !wanted(next)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written back with every group in brackets.
    fn shown(expression: &Expression) -> String {
        let joined = |parts: &[Expression], by| parts.iter().map(shown).collect::<Vec<_>>().join(by);
        match expression {
            Expression::All(all) => format!("({})", joined(all, " ")),
            Expression::Any(any) => format!("({})", joined(any, "|")),
            Expression::Not(inner) => format!("-{}", shown(inner)),
            Expression::Leaf(Leaf::Term(term)) => format!("<{}>", term.key),
            Expression::Leaf(leaf) => format!("{leaf:?}"),
            Expression::Is(condition) => format!("{condition:?}"),
        }
    }

    fn check(text: &str, expected: &str) {
        let parsed = parse(text, Dialect::Listen);
        assert_eq!(parsed.as_ref().map(shown).map_err(|e| format!("{e:?}")), Ok(expected.into()), "{text}");
    }

    fn check_problems(text: &str, expected: &[(usize, &str)]) {
        let problems = parse(text, Dialect::Rule).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{text}: {problems:?}");
        for (problem, (position, part)) in problems.iter().zip(expected) {
            assert_eq!(problem.position, *position, "{text}: {problem:?}");
            assert!(problem.message.contains(part), "{text}: {problem:?}");
        }
    }

    #[test]
    fn a_slip_in_a_listen_rule_is_no_keyword() {
        let check =
            |text: &str, is_right: bool| assert_eq!(parse(text, Dialect::Listen).is_ok(), is_right, "{text}");
        check("handle OR hashtagg", false);
        check("(name triger)", false);
        check("handle XOR name", false);
        check("handle OR \"triger\"", true);
        check("handle OR (name invoice)", true);
    }

    #[test]
    fn operators_and_groups_are_read() {
        check("lumio", "<lumio>");
        check("a b OR c d", "((<a> <b>)|(<c> <d>))");
        check("(a OR \"b  C!\") -d", "((<a>|<b c>) -<d>)");
        check("a-(b OR c)", "(<a> (<b>|<c>))");
        check("a -(b OR c)", "(<a> -(<b>|<c>))");
        check("#Lumio @Lumio_Help", "(<#lumio> <@lumio_help>)");
        check("coca-cola l'oréal", "(<coca cola> <l oreal>)");
        check("FROM:@Bob Lang:FR-be", "(From(\"bob\") Language(\"fr\"))");
        check("x to:bob", "(<x> (<@bob> Reply))");
        check("x to:did:plc:ab", "(<x> ToDid(\"did:plc:ab\"))");
        check(
            "x is:reply is:quote is:repost is:retweet is:verified",
            "(<x> Reply Quote Repost Repost Verified)",
        );
        check("x has:links has:hashtags has:mentions has:media", "(<x> Links Hashtags Mentions Media)");
        check("x or y ORange", "(<x> <or> <y> <orange>)");
        check("12:30 😡", "(<12 30> <😡>)");
    }

    #[test]
    fn listen_knows_the_brands_classes() {
        check(
            "handle OR hashtag OR (name trigger)",
            "(Class(Handle)|Class(Hashtag)|(Class(Name) Class(Trigger)))",
        );
        check("\"Name\" \"trigger\"", "(<name> <trigger>)");
        let as_words = parse("handle name", Dialect::Rule).unwrap();
        assert_eq!(shown(&as_words), "(<handle> <name>)");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        check_problems("", &[(0, "a term is expected but the rule ends")]);
        check_problems("é (a b", &[(2, "`(` is never closed")]);
        check_problems("a)", &[(1, "closes no group")]);
        check_problems("a OR", &[(4, "expected")]);
        check_problems("OR a", &[(0, "before `OR`")]);
        check_problems("a ()", &[(3, "before `)`")]);
        check_problems("a \"b", &[(2, "`\"` is never closed")]);
        check_problems("a - b", &[(2, "must touch")]);
        check_problems("a --b", &[(2, "must touch")]);
        check_problems("a AND b", &[(2, "already means AND")]);
        check_problems("a NOT b", &[(2, "write `-`")]);
        check_problems("a !!", &[(2, "no letter")]);
        check_problems("a is:", &[(2, "has no value")]);
        check_problems(&"(".repeat(40), &[(32, "nested")]);
        check_problems(&"a ".repeat(2000), &[(2048, "at most 2048")]);
    }

    #[test]
    fn unsupported_operators_are_all_named() {
        check_problems("é sample:10 b", &[(2, "`sample:10` is not supported: supported are")]);
        check_problems("a \"b c\"~3", &[(2, "proximity")]);
        check_problems("a embedding:\"b c\" d", &[(2, "`embedding:\"…\"`")]);
        check_problems(
            "a point_radius:[2.3 48.8 1km] $LUM lumi* is:nullcast has:geo url:x",
            &[
                (2, "point_radius"),
                (30, "cashtag"),
                (35, "wildcard"),
                (41, "is:nullcast"),
                (53, "has:geo"),
                (61, "url:x"),
            ],
        );
    }

    /// Whatever X's documentation names and one post cannot answer is refused where it stands, and nothing
    /// beside it is.
    #[test]
    fn every_other_operator_of_x_is_refused_at_its_place() {
        for operator in [
            "retweets_of:a",
            "from_affiliate_of:a",
            "to_affiliate_of:a",
            "url:\"a b\"",
            "url:a",
            "url_title:a",
            "url_description:a",
            "url_contains:a",
            "context:1.2",
            "entity:a",
            "entity:\"a b\"",
            "conversation_id:1",
            "bio:a",
            "bio_name:a",
            "bio_location:a",
            "place:\"new york city\"",
            "place_country:us",
            "point_radius:[2.35 48.85 10km]",
            "bounding_box:[2 48 3 49]",
            "embedding:\"a b\"",
            "embedding_threshold:0.5",
            "min_followers:10",
            "followers_count:1..10",
            "tweets_count:1..",
            "following_count:5",
            "listed_count:5",
            "in_reply_to_tweet_id:1",
            "retweets_of_tweet_id:1",
            "source:web",
            "is:nullcast",
            "has:cashtags",
            "has:images",
            "has:video_link",
            "has:videos",
            "has:geo",
            "has:symbols",
            "has:profile_geo",
            "sample:10",
            "contains:a",
            "statuses_count:1",
            "friends_count:1",
            "profile_country:us",
            "$TSLA",
            "\"a b\"~3",
            "a*",
        ] {
            let text = format!("é (b {operator}) -{operator} c");
            let negated = text.chars().count() - operator.chars().count() - 2;
            check_problems(&text, &[(5, "is not supported: supported are"), (negated, "is not supported")]);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c@#$:\"()~ *-]{0,40}|(OR|a|-|\\(|\\)| |is:reply|\"){0,20}|\\PC{0,30}") {
            if let Err(problems) = parse(&text, Dialect::Listen) {
                proptest::prop_assert!(!problems.is_empty());
                proptest::prop_assert!(problems.iter().all(|problem| problem.position <= text.chars().count()));
            }
        }
    }
}
