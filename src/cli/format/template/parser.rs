//! Tokens to a tree.

use super::Fault;
use super::functions;
use super::lexer::{self, Kind as TokenKind, Token};
use super::tree::{Branch, Command, Kind, Node, Pipeline, Term, Word};
use std::collections::{BTreeMap, VecDeque};

/// What `{{define}}` and `{{block}}` define.
pub type Defined = BTreeMap<String, Vec<Node>>;

/// How deep actions and parentheses may be in each other: what reads, executes and drops them calls itself for each.
const DEEPEST: usize = 100;

/// Reads a template that begins at a place of its source.
pub fn parse(source: &str, start: usize) -> Result<(Vec<Node>, Defined), Fault> {
    let tokens = lexer::tokens(source, start)?;
    let mut parser = Parser {
        tokens: tokens.into(),
        end: source.len(),
        variables: vec![String::new()],
        loops: 0,
        depth: 0,
        defined: Defined::new(),
    };
    match parser.list(true)? {
        (nodes, End::Eof) => Ok((nodes, parser.defined)),
        (_, end) => Err(Fault::new(end.at(), format!("unexpected {}", end.name()))),
    }
}

/// What ends a list.
enum End {
    Eof,
    Closed(usize),
    /// `{{else}}`, whose tokens behind that word are still to come.
    Else(usize),
}

impl End {
    fn at(&self) -> usize {
        match self {
            End::Eof => 0,
            End::Closed(at) | End::Else(at) => *at,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            End::Eof => "end of the template",
            End::Closed(_) => "{{end}}",
            End::Else(_) => "{{else}}",
        }
    }
}

struct Parser {
    tokens: VecDeque<Token>,
    /// Where the template ends.
    end: usize,
    /// Those that can be seen here; the first is `$`.
    variables: Vec<String>,
    /// Loops around this place.
    loops: usize,
    depth: usize,
    defined: Defined,
}

impl Parser {
    fn next(&mut self) -> Result<Token, Fault> {
        self.tokens.pop_front().ok_or_else(|| Fault::new(self.end, "unexpected end of the template"))
    }

    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.front().map(|token| &token.kind)
    }

    fn at(&self) -> usize {
        self.tokens.front().map_or(self.end, |token| token.at)
    }

    fn unexpected<T>(token: &Token, place: &str) -> Result<T, Fault> {
        Err(Fault::new(token.at, format!("unexpected {} in {place}", lexer::name(&token.kind))))
    }

    fn expect(&mut self, kind: &TokenKind, place: &str) -> Result<(), Fault> {
        let token = self.next()?;
        if token.kind == *kind { Ok(()) } else { Parser::unexpected(&token, place) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Parser) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::new(self.at(), format!("more than {DEEPEST} actions and parentheses in each other")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to an `{{end}}`, an `{{else}}` or the end of the template.
    fn list(&mut self, top: bool) -> Result<(Vec<Node>, End), Fault> {
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.pop_front() {
            if let TokenKind::Text(text) = token.kind {
                nodes.push(Node::Text(text));
                continue;
            }
            // What is no text begins an action.
            let at = token.at;
            let word = match self.peek() {
                Some(TokenKind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            let kind = match word.as_str() {
                "if" => Some(Kind::If),
                "with" => Some(Kind::With),
                "range" => Some(Kind::Range),
                _ => None,
            };
            if let Some(kind) = kind {
                self.next()?;
                nodes.push(Node::Branch(self.deeper(|parser| parser.branch(kind))?));
                continue;
            }
            if !matches!(word.as_str(), "end" | "else" | "break" | "continue" | "define" | "template" | "block") {
                let pipeline = self.pipeline("action", &TokenKind::Close)?;
                nodes.push(Node::Action(pipeline));
                continue;
            }
            self.next()?;
            match word.as_str() {
                "end" => {
                    self.expect(&TokenKind::Close, "end")?;
                    return Ok((nodes, End::Closed(at)));
                }
                "else" => return Ok((nodes, End::Else(at))),
                "break" | "continue" => {
                    self.expect(&TokenKind::Close, &word)?;
                    if self.loops == 0 {
                        return Err(Fault::new(at, format!("{word} outside of range")));
                    }
                    nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                "define" if top => {
                    let name = self.name("define")?;
                    self.expect(&TokenKind::Close, "define")?;
                    self.define(at, name)?;
                }
                "define" => return Err(Fault::new(at, "define inside of another action")),
                _ => {
                    let name = self.name(&word)?;
                    let closed = word == "template" && matches!(self.peek(), Some(TokenKind::Close));
                    let argument = if closed {
                        self.next()?;
                        None
                    } else {
                        Some(self.pipeline(&word, &TokenKind::Close)?)
                    };
                    if word == "block" {
                        self.define(at, name.clone())?;
                    }
                    nodes.push(Node::Template { at, name, argument });
                }
            }
        }
        Ok((nodes, End::Eof))
    }

    /// The name of a template.
    fn name(&mut self, place: &str) -> Result<String, Fault> {
        let token = self.next()?;
        match token.kind {
            TokenKind::Quoted(name) => Ok(name),
            _ => Parser::unexpected(&token, &format!("{place}: a name in quotes is wanted")),
        }
    }

    fn define(&mut self, at: usize, name: String) -> Result<(), Fault> {
        // Variables and loops around it are not seen inside.
        let variables = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let nodes = match self.deeper(|parser| parser.list(false))? {
            (nodes, End::Closed(_)) => nodes,
            (_, End::Eof) => return Err(Fault::new(at, "{{end}} is missing for this one")),
            (_, End::Else(at)) => return Err(Fault::new(at, "unexpected {{else}}")),
        };
        self.variables = variables;
        self.loops = loops;
        match self.defined.insert(name, nodes) {
            None => Ok(()),
            Some(_) => Err(Fault::new(at, "there is a template of that name already")),
        }
    }

    fn branch(&mut self, kind: Kind) -> Result<Branch, Fault> {
        let at = self.at();
        let outside = self.variables.len();
        let place = match kind {
            Kind::If => "if",
            Kind::With => "with",
            Kind::Range => "range",
        };
        let pipeline = self.pipeline(place, &TokenKind::Close)?;
        self.loops += usize::from(kind == Kind::Range);
        let inside = self.variables.len();
        let (body, end) = self.list(false)?;
        self.variables.truncate(inside);
        self.loops -= usize::from(kind == Kind::Range);
        let missing = || Err(Fault::new(at, format!("{{{{end}}}} is missing for this {place}")));
        let otherwise = match end {
            End::Eof => return missing(),
            End::Closed(_) => Vec::new(),
            End::Else(_) => match self.next()? {
                // `{{else if x}}…{{end}}` is `{{else}}{{if x}}…{{end}}{{end}}`, and so with `with`.
                Token { kind: TokenKind::Word(word), .. } if word == place && kind != Kind::Range => {
                    vec![Node::Branch(self.deeper(|parser| parser.branch(kind))?)]
                }
                Token { kind: TokenKind::Close, .. } => match self.list(false)? {
                    (nodes, End::Closed(_)) => nodes,
                    (_, End::Eof) => return missing(),
                    (_, End::Else(at)) => return Err(Fault::new(at, "a second {{else}}: {{end}} is wanted")),
                },
                token => return Parser::unexpected(&token, "else"),
            },
        };
        self.variables.truncate(outside);
        Ok(Branch { kind, pipeline, body, otherwise })
    }

    /// A pipeline and the token that closes it.
    fn pipeline(&mut self, place: &str, close: &TokenKind) -> Result<Pipeline, Fault> {
        let at = self.at();
        let (variables, assigns) = self.declaration(place)?;
        let mut commands = Vec::new();
        loop {
            let words = self.words()?;
            let token = self.next()?;
            if words.is_empty() {
                let place = if commands.is_empty() { place } else { "|" };
                return Err(Fault::new(token.at, format!("a value is missing for {place}")));
            }
            let callable = |word: &Word| {
                let literal =
                    matches!(word.term, Term::Nil | Term::Bool(_) | Term::Integer(_) | Term::Float(_) | Term::Text(_));
                !(literal || matches!(word.term, Term::Dot) && word.fields.is_empty())
            };
            if let Some(word) = words.first().filter(|word| !commands.is_empty() && !callable(word)) {
                return Err(Fault::new(word.at, "what follows a | must be a function"));
            }
            commands.push(Command { words });
            if token.kind == *close {
                // The names are seen behind the pipeline, not in it.
                if !assigns {
                    self.variables.extend(variables.iter().cloned());
                }
                return Ok(Pipeline { at, variables, assigns, commands });
            }
            match token.kind {
                TokenKind::Pipe => {}
                TokenKind::Close => return Err(Fault::new(at, "( is not closed")),
                _ => return Parser::unexpected(&token, place),
            }
        }
    }

    /// `$x :=`, `$x =`, and with range `$key, $value :=`.
    fn declaration(&mut self, place: &str) -> Result<(Vec<String>, bool), Fault> {
        let at = self.at();
        let ahead = (self.peek(), self.tokens.get(1).map(|token| &token.kind));
        let (first, comma) = match ahead {
            (Some(TokenKind::Variable(name)), Some(TokenKind::Declare | TokenKind::Assign)) => (name.clone(), false),
            (Some(TokenKind::Variable(name)), Some(TokenKind::Comma)) => (name.clone(), true),
            _ => return Ok((Vec::new(), false)),
        };
        let mut variables = vec![first];
        self.next()?;
        if comma {
            self.next()?;
            let token = self.next()?;
            match token.kind {
                TokenKind::Variable(second) if place == "range" => variables.push(second),
                _ => return Parser::unexpected(&token, &format!("{place}: one variable and := are wanted")),
            }
        }
        let token = self.next()?;
        let assigns = match token.kind {
            TokenKind::Declare => false,
            TokenKind::Assign => true,
            _ => return Parser::unexpected(&token, &format!("{place}: := is wanted")),
        };
        match variables.iter().find(|name| assigns && !self.variables.contains(name)) {
            Some(name) => Err(Fault::new(at, format!("there is no variable ${name} to assign to"))),
            None => Ok((variables, assigns)),
        }
    }

    /// Words up to what is none.
    fn words(&mut self) -> Result<Vec<Word>, Fault> {
        let mut words = Vec::new();
        while let Some(token) = self.tokens.front() {
            let (at, glued) = (token.at, token.glued);
            if matches!(token.kind, TokenKind::Close | TokenKind::Pipe | TokenKind::RightParen) {
                break;
            }
            let token = self.next()?;
            if glued && !words.is_empty() {
                return Parser::unexpected(&token, "a term: a blank is wanted before it");
            }
            let mut fields = Vec::new();
            let term = match token.kind {
                TokenKind::Dot => Term::Dot,
                TokenKind::Field(name) => {
                    fields.push((at, name));
                    Term::Dot
                }
                TokenKind::Variable(name) if self.variables.contains(&name) => Term::Variable(name),
                TokenKind::Variable(name) => return Err(Fault::new(at, format!("there is no variable ${name}"))),
                TokenKind::Integer(integer) => Term::Integer(integer),
                TokenKind::Float(number) => Term::Float(number),
                TokenKind::Quoted(text) => Term::Text(text),
                TokenKind::LeftParen => {
                    Term::Pipeline(Box::new(self.deeper(|parser| parser.pipeline("( )", &TokenKind::RightParen))?))
                }
                TokenKind::Word(word) => match word.as_str() {
                    "nil" => Term::Nil,
                    "true" => Term::Bool(true),
                    "false" => Term::Bool(false),
                    name => match functions::name(name) {
                        Some(name) => Term::Function(name),
                        None => return Err(Fault::new(at, format!("there is no function {name}"))),
                    },
                },
                _ => return Parser::unexpected(&token, "a command"),
            };
            self.fields(&term, &mut fields)?;
            words.push(Word { at, term, fields });
        }
        Ok(words)
    }

    /// The fields that are taken from a term.
    fn fields(&mut self, term: &Term, fields: &mut Vec<(usize, String)>) -> Result<(), Fault> {
        let none = match term {
            Term::Dot => fields.is_empty(),
            Term::Nil | Term::Bool(_) | Term::Integer(_) | Term::Float(_) | Term::Text(_) => true,
            Term::Variable(_) | Term::Function(_) | Term::Pipeline(_) => false,
        };
        while let Some(Token { at, glued: true, kind: TokenKind::Field(name) }) = self.tokens.front() {
            if none {
                return Err(Fault::new(*at, format!("unexpected .{name} after what has no fields")));
            }
            fields.push((*at, name.clone()));
            self.tokens.pop_front();
        }
        Ok(())
    }
}
