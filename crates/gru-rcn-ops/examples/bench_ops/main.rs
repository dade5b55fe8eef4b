//! Times the operators: `bench_ops NAME [--seconds S] [ARGUMENT]` repeats one piece of work for a
//! second or `S` and prints what it costs as a line of JSON. `NAME` is a network, a level of the
//! ConvGRU, a level with `-train` for its backward pass too, or `peak` for the processor's limit.

mod cnn;
mod fma;
mod gru;
mod timing;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut seconds = 1.0;
    if let Some(at) = arguments.iter().position(|argument| argument == "--seconds") {
        seconds = arguments.get(at + 1).and_then(|value| value.parse().ok()).expect("--seconds needs a number");
        arguments.drain(at..at + 2);
    }
    let name = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
    if name == "peak" {
        fma::run(seconds);
    } else if !cnn::run(&name, seconds, &arguments) && !gru::run(&name, seconds, &arguments) {
        let levels = gru::LEVELS.map(|level| level.name);
        eprintln!("unknown benchmark {name:?}; known: peak {:?} {:?} {levels:?}", cnn::NAMES, gru::NAMES);
        std::process::exit(2);
    }
}
