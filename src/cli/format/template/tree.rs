//! A template as a tree. Places are bytes from its beginning.

/// What stands in a list of the template.
#[derive(Debug)]
pub enum Node {
    /// Text between actions.
    Text(String),
    /// `{{pipeline}}`: prints, unless it declares or assigns.
    Action(Pipeline),
    /// `{{if}}`, `{{with}}` or `{{range}}`.
    Branch(Branch),
    /// `{{template "name" pipeline}}`, and `{{block}}`, which also defines.
    Template { at: usize, name: String, argument: Option<Pipeline> },
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
}

/// A choice or a loop.
#[derive(Debug)]
pub struct Branch {
    pub kind: Kind,
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    /// After `{{else}}`.
    pub otherwise: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    If,
    With,
    Range,
}

/// `$x := command | command`.
#[derive(Debug)]
pub struct Pipeline {
    pub at: usize,
    /// Names of variables without the `$`: one, or two with range.
    pub variables: Vec<String>,
    /// `=` rather than `:=`.
    pub assigns: bool,
    /// At least one.
    pub commands: Vec<Command>,
}

/// Words with blanks between them: a value, or a function and its arguments. At least one.
#[derive(Debug)]
pub struct Command {
    pub words: Vec<Word>,
}

/// A term and the fields taken from it: `.A.B`, `$x.A`, `(index .L 0).A`.
#[derive(Debug)]
pub struct Word {
    pub at: usize,
    pub term: Term,
    /// Each with its place.
    pub fields: Vec<(usize, String)>,
}

#[derive(Debug)]
pub enum Term {
    Dot,
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Without the `$`; empty is the value that the template began with.
    Variable(String),
    Function(&'static str),
    Pipeline(Box<Pipeline>),
}
