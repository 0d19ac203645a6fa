//! A tree and a value to text.

use super::budget::{Budget, STEP, Text};
use super::functions;
use super::parser::Defined;
use super::tree::{Branch, Command, Kind, Node, Pipeline, Term, Word};
use super::value::{self, Value};
use super::{Fault, Purpose};
use serde_json::Value as Json;

/// How deep actions, parentheses and templates may be in each other. Each costs stack; a thread has 2 MiB at least.
const DEEPEST: usize = 200;

/// Executes; what was printed before a fault comes with it.
pub fn execute<'a>(
    nodes: &'a [Node],
    defined: &'a Defined,
    root: &'a Json,
    purpose: &'a Purpose<'a>,
) -> (String, Result<(), Fault>) {
    let dot = Value::Part(root);
    let variables = vec![("", dot.clone())];
    let mut executor =
        Executor { defined, root, purpose, out: String::new(), variables, depth: 0, budget: Budget::new() };
    let result = executor.list(nodes, &dot);
    (executor.out, result.map(|_| ()))
}

/// What follows a list of nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Executor<'a> {
    defined: &'a Defined,
    root: &'a Json,
    purpose: &'a Purpose<'a>,
    out: String,
    /// Names without the `$`; the last of a name counts.
    variables: Vec<(&'a str, Value<'a>)>,
    depth: usize,
    budget: Budget,
}

impl<'a> Executor<'a> {
    fn deeper<T>(
        &mut self,
        at: usize,
        execute: impl FnOnce(&mut Executor<'a>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::new(at, format!("more than {DEEPEST} templates and actions in each other")));
        }
        self.depth += 1;
        let result = execute(self);
        self.depth -= 1;
        result
    }

    fn take(&mut self, at: usize, amount: usize) -> Result<(), Fault> {
        self.budget.take(amount).map_err(|error| Fault::new(at, error))
    }

    fn list(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, Fault> {
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.take(0, STEP + text.len())?;
                    self.out += text;
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        let mut text = Text::new(&mut self.budget);
                        value.print(&mut text);
                        self.out += &text.finish().map_err(|error| Fault::new(pipeline.at, error))?;
                    }
                    self.bind(pipeline, &[&value]);
                }
                Node::Branch(branch) => {
                    let variables = self.variables.len();
                    let flow = self.deeper(branch.pipeline.at, |executor| executor.branch(branch, dot))?;
                    self.variables.truncate(variables);
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Node::Template { at, name, argument } => {
                    let argument = match argument {
                        Some(pipeline) => {
                            let value = self.pipeline(pipeline, dot)?;
                            self.bind(pipeline, &[&value]);
                            value
                        }
                        None => Value::Missing,
                    };
                    let nodes = self.defined.get(name);
                    let nodes = nodes.ok_or_else(|| Fault::new(*at, format!("there is no template {name:?}")))?;
                    let outside = std::mem::replace(&mut self.variables, vec![("", argument.clone())]);
                    self.take(*at, STEP)?;
                    self.deeper(*at, |executor| executor.list(nodes, &argument))?;
                    self.variables = outside;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Next)
    }

    /// Declares or assigns the variables of a pipeline: the first to the first value, the second to the second.
    fn bind(&mut self, pipeline: &'a Pipeline, values: &[&Value<'a>]) {
        for (name, value) in pipeline.variables.iter().zip(values.iter().cycle()) {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some(variable) if pipeline.assigns => variable.1 = (*value).clone(),
                _ => self.variables.push((name, (*value).clone())),
            }
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow, Fault> {
        let value = self.pipeline(&branch.pipeline, dot)?;
        if branch.kind == Kind::Range {
            return self.range(branch, &value, dot);
        }
        self.bind(&branch.pipeline, &[&value]);
        match (value.is_true(), branch.kind) {
            (true, Kind::With) => self.list(&branch.body, &value),
            (true, _) => self.list(&branch.body, dot),
            (false, _) => self.list(&branch.otherwise, dot),
        }
    }

    fn range(&mut self, branch: &'a Branch, value: &Value<'a>, dot: &Value<'a>) -> Result<Flow, Fault> {
        let at = branch.pipeline.at;
        let mut ran = false;
        let mut once = |executor: &mut Executor<'a>, key: Value<'a>, item: Value<'a>| {
            ran = true;
            executor.take(at, STEP)?;
            let outside = executor.variables.len();
            let values: &[&Value<'a>] = if branch.pipeline.variables.len() == 2 { &[&key, &item] } else { &[&item] };
            executor.bind(&branch.pipeline, values);
            let flow = executor.list(&branch.body, &item)?;
            executor.variables.truncate(outside);
            Ok(flow != Flow::Break)
        };
        match value.json() {
            Json::Null => {}
            Json::Array(list) => {
                for number in 0..list.len() {
                    if !once(self, Value::made(number), value.part(|list| list.get(number)))? {
                        break;
                    }
                }
            }
            Json::Object(map) => {
                for (key, _) in value::sorted(map) {
                    if !once(self, Value::made(key.as_str()), value.part(|map| map.get(key)))? {
                        break;
                    }
                }
            }
            json => {
                let Some(count) = value::integer(json) else {
                    return Err(Fault::new(at, format!("range over {}", value::kind(json))));
                };
                for number in 0..u64::try_from(count).unwrap_or_default() {
                    if !once(self, Value::made(number), Value::made(number))? {
                        break;
                    }
                }
            }
        }
        if ran {
            return Ok(Flow::Next);
        }
        self.bind(&branch.pipeline, &[value]);
        // A break there ends this range and none around it, as in Go.
        self.list(&branch.otherwise, dot).map(|flow| if flow == Flow::Break { Flow::Next } else { flow })
    }

    /// The value of a pipeline; its variables are for the caller.
    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            // What is null is not there from here on, as in Go.
            let result = self.command(command, dot, value)?;
            value = Some(if result.json().is_null() { Value::Missing } else { result });
        }
        Ok(value.unwrap_or(Value::Missing))
    }

    /// `last`: what came through the pipe.
    fn command(&mut self, command: &'a Command, dot: &Value<'a>, last: Option<Value<'a>>) -> Result<Value<'a>, Fault> {
        let Some((first, rest)) = command.words.split_first() else {
            return Ok(Value::Missing);
        };
        if let (Term::Function(name), []) = (&first.term, first.fields.as_slice()) {
            return self.call(first.at, name, rest, dot, last);
        }
        if let (Term::Dot, [(at, name)], false) = (&first.term, first.fields.as_slice(), rest.is_empty()) {
            if name == "Label" {
                return self.label(*at, rest, dot, last);
            }
        }
        if !rest.is_empty() || last.is_some() {
            let what = first.fields.last().map_or("this".to_owned(), |(_, name)| name.clone());
            return Err(Fault::new(first.at, format!("{what} is no function and takes no arguments")));
        }
        if matches!(first.term, Term::Nil) {
            return Err(Fault::new(first.at, "nil is no command"));
        }
        self.word(first, dot)
    }

    fn word(&mut self, word: &'a Word, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        self.take(word.at, STEP)?;
        let mut value = match &word.term {
            Term::Dot => dot.clone(),
            Term::Nil => Value::made(()),
            Term::Bool(yes) => Value::made(*yes),
            Term::Integer(integer) => Value::made(*integer),
            Term::Float(number) => Value::made(*number),
            Term::Text(text) => {
                self.take(word.at, text.len())?;
                Value::made(text.as_str())
            }
            Term::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                variable.map_or(Value::Missing, |(_, value)| value.clone())
            }
            Term::Function(name) => self.call(word.at, name, &[], dot, None)?,
            Term::Pipeline(pipeline) => self.deeper(word.at, |executor| {
                let value = executor.pipeline(pipeline, dot)?;
                executor.bind(pipeline, &[&value]);
                Ok(value)
            })?,
        };
        for (at, name) in &word.fields {
            value = self.field(&value, *at, name)?;
        }
        Ok(value)
    }

    fn field(&mut self, value: &Value<'a>, at: usize, name: &str) -> Result<Value<'a>, Fault> {
        if matches!(value, Value::Missing) {
            return Ok(Value::Missing);
        }
        let Json::Object(map) = value.json() else {
            let mut fault = Fault::new(at, format!("can't evaluate field {name} in {}", value::kind(value.json())));
            if value.json().is_array() {
                fault.hint =
                    Some("one of it: {{(index .List 0).Field}}, all: {{range .List}}{{.Field}} {{end}}".to_owned());
            }
            return Err(fault);
        };
        if !map.contains_key(name) {
            let alike = |key: &&String| key.to_lowercase() == name.to_lowercase();
            return match map.keys().find(alike) {
                Some(key) => Ok(value.part(|map| map.get(key))),
                None => self.missing(value, at, name),
            };
        }
        Ok(value.part(|map| map.get(name)))
    }

    fn missing(&self, value: &Value<'a>, at: usize, name: &str) -> Result<Value<'a>, Fault> {
        let Purpose::Row { known, rows, .. } = self.purpose else {
            return Ok(Value::Missing);
        };
        let mut elsewhere = rows.iter().filter_map(Json::as_object).flat_map(|row| row.keys().map(String::as_str));
        let alike = |key: &str| key.to_lowercase() == name.to_lowercase();
        if !std::ptr::eq(value.json(), self.root) || known.iter().any(|key| alike(key)) || elsewhere.any(alike) {
            return Ok(Value::Missing);
        }
        let mut fault = Fault::new(at, format!("can't evaluate field {name}: there is none of that name"));
        fault.hint = Some(format!("the fields are {}", known.join(", ")));
        Err(fault)
    }

    /// docker's `.Label "KEY"` of a row. The heading of its column is the last part of the key.
    fn label(
        &mut self,
        at: usize,
        words: &'a [Word],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let [word] = words else {
            return Err(Fault::new(at, "Label: one key is wanted"));
        };
        let key = self.word(word, dot)?;
        let (Some(key), None) = (key.json().as_str(), last) else {
            return Err(Fault::new(at, "Label: one key is wanted"));
        };
        let is_row = std::ptr::eq(dot.json(), self.root);
        match self.purpose {
            Purpose::Headings if is_row => {
                let part = key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ");
                Ok(Value::made(part))
            }
            Purpose::Row { labels: Some(labels), .. } if is_row => Ok(Value::made(labels[key].as_str().unwrap_or(""))),
            _ => Err(Fault::new(at, "Label: nothing here has labels")),
        }
    }

    fn call(
        &mut self,
        at: usize,
        name: &'static str,
        words: &'a [Word],
        dot: &Value<'a>,
        last: Option<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let failed = |what: String| Fault::new(at, format!("{name}: {what}"));
        functions::count(name, words.len() + usize::from(last.is_some())).map_err(failed)?;
        let mut arguments = Vec::with_capacity(words.len() + 1);
        for word in words {
            let value = self.word(word, dot)?;
            // What decides is the value, and what follows is not even evaluated.
            if (name == "and" && !value.is_true()) || (name == "or" && value.is_true()) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        let texts = arguments.iter().filter_map(|argument| argument.json().as_str()).map(str::len);
        self.take(at, STEP + texts.sum::<usize>())?;
        let heading = matches!(self.purpose, Purpose::Headings);
        functions::call(name, &arguments, heading, &mut self.budget).map_err(failed)
    }
}
