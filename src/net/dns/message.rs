//! As much of a DNS message (RFC 1035, section 4) as somebody needs to know who only passes it on: its id, and what it
//! asks.

use std::net::IpAddr;

/// A header's length.
const HEADER: usize = 12;
/// The bytes of a name, its lengths and the final 0 among them (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;
/// A question's type and class.
const TYPE_AND_CLASS: usize = 4;
/// The longest query that is passed on. Those of resolvers have less than 512 bytes.
pub const MAX_QUERY: usize = 4096;

/// The server cannot answer (RFC 1035, section 4.1.1).
pub const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

/// There is no such name.
pub const NXDOMAIN: u8 = 3;
/// Types of records (RFC 1035, section 3.2.2, and RFC 3596).
pub const A: u16 = 1;
/// Likewise.
pub const PTR: u16 = 12;
/// Likewise.
pub const AAAA: u16 = 28;
/// The class of the internet.
const IN: [u8; 2] = [0, 1];
/// How long an answer of our own may be kept, seconds: containers come and go.
const LIFE: u32 = 5;
/// As much every client takes, bytes.
const DATAGRAM: usize = 512;

/// What an answer of our own says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A name's address.
    Address(IpAddr),
    /// An address's name.
    Name(String),
}

/// A well-formed query with one question.
#[derive(Debug, Clone)]
pub struct Query {
    bytes: Vec<u8>,
    /// Where the question ends that follows the header.
    end: usize,
}

/// What a message is that comes back from a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing that was asked for: it may be forged.
    Foreign,
    /// The answer, with the id that the client gave its query.
    Answer(Vec<u8>),
    /// The server cannot or will not; another one may. This is for the client if they all say so.
    Refusal(Vec<u8>),
}

impl Query {
    /// None for what is too short or too long, is an answer itself, or does not have exactly one question.
    pub fn parse(bytes: &[u8]) -> Option<Query> {
        let end = question_end(bytes)?;
        let fits = bytes.len() <= MAX_QUERY && !is_answer(bytes)? && questions(bytes)? == 1;
        fits.then(|| Query { bytes: bytes.to_vec(), end })
    }

    /// The query as it is sent on, with an id of our own.
    pub fn with_id(&self, id: [u8; 2]) -> Vec<u8> {
        with_id(&self.bytes, id)
    }

    /// What `message` is to this query, sent with `id`.
    ///
    /// Names are the same in whatever case (RFC 4343), type and class are bytes that only look like letters.
    pub fn reply(&self, id: [u8; 2], message: &[u8]) -> Reply {
        let Some(code) = self.code_of_reply(id, message) else { return Reply::Foreign };
        let own = self.id();
        if questions(message) == Some(0) {
            // Servers that do not know EDNS answer with a bare header.
            return if code == 0 { Reply::Foreign } else { Reply::Refusal(self.failure(code)) };
        }
        let asked = self.bytes.get(HEADER..self.end);
        let answered = question_end(message).and_then(|end| message.get(HEADER..end));
        match (asked, answered) {
            (Some(asked), Some(answered)) if questions(message) == Some(1) && same(asked, answered) => match code {
                SERVFAIL | NOTIMP | REFUSED => Reply::Refusal(with_id(message, own)),
                _ => Reply::Answer(with_id(message, own)),
            },
            _ => Reply::Foreign,
        }
    }

    /// The response code of an answer to something with this id and this kind of query.
    fn code_of_reply(&self, id: [u8; 2], message: &[u8]) -> Option<u8> {
        let kind = |bytes: &[u8]| bytes.get(2).map(|flags| flags & 0x78);
        let fits = message.first_chunk() == Some(&id) && is_answer(message)? && kind(message) == kind(&self.bytes);
        message.get(3).map(|flags| flags & 0x0f).filter(|_| fits && message.len() >= HEADER)
    }

    /// What is asked: the name in small letters, without the dot at its end, and its type; `None` if that is no text, or of
    /// another class than the internet's.
    pub fn question(&self) -> Option<(String, u16)> {
        let (name, kind) = self.bytes.get(HEADER..self.end)?.split_last_chunk::<TYPE_AND_CLASS>()?;
        let [high, low, class @ ..] = *kind;
        let (mut labels, mut rest) = (Vec::new(), name);
        while let Some((length @ 1.., after)) = rest.split_first() {
            let (label, after) = after.split_at_checked((*length).into())?;
            labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
            rest = after;
        }
        (class == IN).then(|| (labels.join("."), u16::from_be_bytes([high, low])))
    }

    /// An answer of our own, with as many records as every client takes in a datagram (RFC 1035, section 4.2.1).
    pub fn answer(&self, records: &[Record]) -> Vec<u8> {
        let mut answer = self.failure(0);
        let mut count: u16 = 0;
        for record in records {
            let (kind, data) = match record {
                Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
                Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
                Record::Name(name) => (PTR, wire_name(name)),
            };
            let length = u16::try_from(data.len()).unwrap_or(0).to_be_bytes();
            // Its name is that of the question, to which this points.
            let head = [0xc0, HEADER as u8];
            let record = [&head[..], &kind.to_be_bytes(), &IN, &LIFE.to_be_bytes(), &length, &data].concat();
            if answer.len() + record.len() > DATAGRAM {
                break;
            }
            answer.extend(record);
            count += 1;
        }
        if let Some([.., high, low]) = answer.first_chunk_mut::<8>() {
            [*high, *low] = count.to_be_bytes();
        }
        answer
    }

    /// An answer of our own: no records, this response code.
    pub fn failure(&self, code: u8) -> Vec<u8> {
        let mut answer: Vec<u8> = self.bytes.iter().take(self.end).copied().collect();
        if let Some([_, _, flags, more, counts @ ..]) = answer.first_chunk_mut::<HEADER>() {
            // It is an answer; kind of query and whether recursion is desired stay; recursion is available.
            *flags = 0x80 | (*flags & 0x79);
            *more = 0x80 | (code & 0x0f);
            *counts = [0, 1, 0, 0, 0, 0, 0, 0];
        }
        answer
    }

    /// A number that differs from query to query: its id, which clients choose at random.
    pub fn turn(&self) -> usize {
        u16::from_be_bytes(self.id()).into()
    }

    fn id(&self) -> [u8; 2] {
        self.bytes.first_chunk().copied().unwrap_or_default()
    }
}

/// A name as it is sent; labels that are too long are cut.
fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').map(str::as_bytes).filter(|label| !label.is_empty()) {
        let label = label.get(..label.len().min(63)).unwrap_or_default();
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
    wire
}

fn with_id(message: &[u8], id: [u8; 2]) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(first) = message.first_chunk_mut() {
        *first = id;
    }
    message
}

fn is_answer(message: &[u8]) -> Option<bool> {
    message.get(2).map(|flags| flags & 0x80 != 0)
}

/// How many questions the header announces.
fn questions(message: &[u8]) -> Option<u16> {
    message.get(4..6)?.first_chunk().map(|count| u16::from_be_bytes(*count))
}

/// Where the first question ends. A first name has nothing before it to point to, so a pointer (RFC 1035, section
/// 4.1.4) is an error, as are the kinds of labels that were never used.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length > 63 {
            return None;
        }
        at += 1 + length;
        if at - HEADER > MAX_NAME {
            return None;
        }
        if length == 0 {
            break;
        }
    }
    let end = at + TYPE_AND_CLASS;
    (end <= message.len()).then_some(end)
}

/// The lengths of labels are no letters, so a whole name can be compared at once.
fn same(asked: &[u8], answered: &[u8]) -> bool {
    match (asked.split_last_chunk::<TYPE_AND_CLASS>(), answered.split_last_chunk::<TYPE_AND_CLASS>()) {
        (Some((name, kind)), Some((other_name, other_kind))) => {
            name.eq_ignore_ascii_case(other_name) && kind == other_kind
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for type A of `name`, with id 0x0102 and recursion desired.
    fn query(name: &str) -> Vec<u8> {
        let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.extend([0, 0, 1, 0, 1]);
        bytes
    }

    /// `query` as an answer with this response code.
    fn answered(query: &[u8], code: u8) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes[3] = 0x80 | code;
        bytes
    }

    #[test]
    fn what_is_a_query() {
        let good = query("example.org");
        assert!(Query::parse(&good).is_some());
        // An option record of EDNS behind the question stays.
        let mut edns = good.clone();
        edns[11] = 1;
        edns.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Query::parse(&edns).unwrap().with_id([1, 2]), edns);
        for length in 0..good.len() {
            assert!(Query::parse(&good[..length]).is_none(), "{length}");
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            Query::parse(&bytes).is_none()
        };
        assert!(changed(2, 0x81), "an answer");
        assert!(changed(5, 0), "no question");
        assert!(changed(5, 2), "two questions");
        assert!(changed(12, 0xc0), "a pointer");
        assert!(changed(12, 64), "a label of another kind");
        let mut long = good.clone();
        long.resize(MAX_QUERY, 0);
        assert!(Query::parse(&long).is_some());
        long.push(0);
        assert!(Query::parse(&long).is_none());
    }

    #[test]
    fn names_have_255_bytes() {
        let label = "x".repeat(63);
        let name = |last: usize| format!("{label}.{label}.{label}.{}", "x".repeat(last));
        assert!(Query::parse(&query(&name(61))).is_some());
        assert!(Query::parse(&query(&name(62))).is_none());
    }

    #[test]
    fn an_answer_has_the_id_and_the_question() {
        let asked = query("example.org");
        let query = Query::parse(&asked).unwrap();
        let good = answered(&query.with_id([7, 8]), 0);
        assert_eq!(query.reply([7, 8], &good), Reply::Answer(answered(&asked, 0)));
        assert_eq!(query.reply([7, 9], &good), Reply::Foreign);
        assert_eq!(query.reply([7, 8], &query.with_id([7, 8])), Reply::Foreign, "a query");
        for length in 0..good.len() {
            assert_eq!(query.reply([7, 8], &good[..length]), Reply::Foreign, "{length}");
        }
        let mut update = good.clone();
        update[2] |= 5 << 3;
        assert_eq!(query.reply([7, 8], &update), Reply::Foreign, "another kind of query");
    }

    #[test]
    fn the_case_of_letters_matters_in_the_type_only() {
        let mut asked = query("example.org");
        let end = asked.len();
        // Type 65, HTTPS, is an A; 97 an a.
        asked[end - 3] = 65;
        let query = Query::parse(&asked).unwrap();
        let mut good = answered(&asked, 0);
        good[13..20].make_ascii_uppercase();
        assert_eq!(query.reply([1, 2], &good), Reply::Answer(good.clone()));
        good[end - 3] = 97;
        assert_eq!(query.reply([1, 2], &good), Reply::Foreign);
    }

    #[test]
    fn refusals() {
        let asked = query("example.org");
        let query = Query::parse(&asked).unwrap();
        for code in [SERVFAIL, NOTIMP, REFUSED] {
            assert_eq!(query.reply([1, 2], &answered(&asked, code)), Reply::Refusal(answered(&asked, code)));
        }
        // NXDOMAIN is an answer.
        assert_eq!(query.reply([1, 2], &answered(&asked, 3)), Reply::Answer(answered(&asked, 3)));
        // A bare header with an error gets its question back; without an error it is nothing.
        let bare = [1, 2, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(query.reply([1, 2], &bare), Reply::Refusal(query.failure(1)));
        let bare = [1, 2, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(query.reply([1, 2], &bare), Reply::Foreign);
    }

    #[test]
    fn our_own_failure() {
        let mut asked = query("example.org");
        let plain = asked.clone();
        asked[11] = 1;
        asked.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Query::parse(&asked).unwrap().failure(SERVFAIL), answered(&plain, SERVFAIL));
    }

    #[test]
    fn an_answer_of_our_own() {
        let asked = query("DB.Example");
        let query = Query::parse(&asked).unwrap();
        assert_eq!(query.question(), Some(("db.example".to_owned(), A)));
        let mut expected = answered(&asked, 0);
        expected[7] = 2;
        expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 1, 2, 3]);
        expected.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 5, 0, 5, 1, b'a', 1, b'b', 0]);
        let records = [Record::Address([10, 1, 2, 3].into()), Record::Name("a.b".to_owned())];
        assert_eq!(query.answer(&records), expected);
        let many = vec![Record::Address([10, 1, 2, 3].into()); 100];
        let answer = query.answer(&many);
        assert!((480..=512).contains(&answer.len()), "{}", answer.len());
        assert_eq!(usize::from(answer[7]), (answer.len() - asked.len()) / 16);
        let mut chaos = asked.clone();
        *chaos.last_mut().unwrap() = 3;
        assert_eq!(Query::parse(&chaos).unwrap().question(), None);
    }

    #[test]
    fn fuzz_dns_message() {
        let asked = query("example.org");
        let seeds = vec![asked.clone(), answered(&asked, 0), answered(&asked, SERVFAIL)];
        let words: [&[u8]; 3] = [&[0xc0, 0x0c], &[0, 1, 0, 1], &[0, 0, 41]];
        crate::fuzz::Target { name: "dns_message", seeds, words: &words, longest: 8192, mutate: None }.run(|bytes| {
            let asked = Query::parse(&asked).unwrap();
            let reply = asked.reply([1, 2], bytes);
            if let Reply::Answer(answer) | Reply::Refusal(answer) = &reply {
                assert!(matches!(asked.reply([1, 2], answer), Reply::Answer(_) | Reply::Refusal(_)));
            }
            // What is sent on is what came, and what we say to it is an answer to it.
            Query::parse(bytes).map(|query| {
                let _ = query.question();
                assert_eq!(query.with_id(query.id()), bytes);
                assert!(matches!(query.reply(query.id(), &query.failure(SERVFAIL)), Reply::Refusal(_)));
                query.end
            })
        });
    }
}
