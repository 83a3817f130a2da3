// kt::print: values shown while a function runs.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <functional>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <thread>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/ir/graph.h"
#include "compiler/lower/lower.h"
#include "compiler/passes/passes.h"
#include "runtime/fair_lock.h"
#include "runtime/pool.h"

namespace kt = kroton;

namespace {

// Catches what is shown until the end of its life.
class Capture {
 public:
  Capture() : before_(kt::set_print_stream(stream_)) {}
  ~Capture() { kt::set_print_stream(before_); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  // What was shown since the last call.
  std::string text() {
    std::string result = stream_.str();
    stream_.str("");
    return result;
  }

 private:
  std::ostringstream stream_;
  std::ostream& before_;
};

// A stream whose buffer does something whenever it is written to, and the print stream as long as
// it lives.
class ActingStream : private std::streambuf, public std::ostream {
 public:
  explicit ActingStream(std::function<void()> action)
      : std::ostream(static_cast<std::streambuf*>(this)),
        action_(std::move(action)),
        before_(kt::set_print_stream(*this)) {
    exceptions(std::ios::badbit);  // what the buffer throws is thrown on
  }
  ~ActingStream() override { kt::set_print_stream(before_); }
  ActingStream(const ActingStream&) = delete;
  ActingStream& operator=(const ActingStream&) = delete;

  const std::string& text() const { return text_; }

 private:
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    action_();
    text_.append(text, static_cast<std::size_t>(size));
    return size;
  }
  int overflow(int c) override {
    const char one = static_cast<char>(c);
    xsputn(&one, 1);
    return c;
  }

  std::function<void()> action_;
  std::string text_;
  std::ostream& before_;
};

struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace

TEST_CASE("kt print: message, type and values, and the value itself") {
  Capture shown;
  auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x * 2, "twice") + 1);
  CHECK(shown.text().empty());
  const kt::Array y = f(kt::Array::from({1.f, 2.f, 4.f}));
  CHECK(shown.text() == "twice f32 (3,)\n[2. 4. 8.]\n");
  CHECK(kt::all_close(y, kt::Array::from({3.f, 5.f, 9.f}), 0, 0));
  f(kt::Array::zeros({1}));
  CHECK(shown.text() == "twice f32 (1,)\n[0.]\n");
  f(kt::Array::zeros({0}));
  CHECK(shown.text() == "twice f32 (0,)\n[]\n");
}

TEST_CASE("kt print: every dtype, scalars, matrices, a name instead of a message") {
  Capture shown;
  auto s = kt::scalar("s", kt::i64);
  auto m = kt::matrix("m", kt::f64);
  const auto f = kt::function({s, m}, {kt::print(s), kt::print(kt::gt(m, 1.0), "large"),
                                       kt::print(kt::cast(m, kt::i32), ""), kt::print(m)});
  f(7, kt::Array::from({{0.5, 1.5}, {2.5, -1.0}}));
  const std::string text = shown.text();
  CAPTURE(text);
  CHECK(text.find("s i64 ()\n7\n") != std::string::npos);
  CHECK(text.find("m f64 (2, 2)\n") != std::string::npos);
  CHECK(text.find("large boolean (2, 2)\n") != std::string::npos);
  CHECK(text.find("cast i32 (2, 2)\n") != std::string::npos);  // no name: its operation
}

TEST_CASE("kt print: once, however often the value is used, and not at all if it is not") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor y = kt::print(kt::exp(x), "y");
  const auto f = kt::function({x}, {y + 1, kt::sum(y), kt::softmax(y), y});
  f(kt::Array::zeros({3}));
  CHECK(shown.text() == "y f32 (3,)\n[1. 1. 1.]\n");
  const auto g = kt::function({x}, kt::exp(x));
  g(kt::Array::zeros({3}));
  CHECK(shown.text().empty());
}

TEST_CASE("kt print: constants are shown at each call") {
  Capture shown;
  auto x = kt::vector("x");
  const auto f = kt::function({x}, x * kt::print(kt::Array::from({2.f, 3.f}), "factors"));
  for (int k = 0; k < 2; ++k) {
    f(kt::Array::ones({2}));
    CHECK(shown.text() == "factors f32 (2,)\n[2. 3.]\n");
  }
  const auto g = kt::function({x}, x * kt::print(2.5, "factor"));
  CHECK(g(kt::Array::ones({1})).item<float>() == 2.5f);
  CHECK(shown.text() == "factor f32 ()\n2.5\n");
}

TEST_CASE("kt print: what depends on another is shown after it") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor first = kt::print(kt::sum(x), "first");
  const kt::Tensor second = kt::print(first * 10, "second");
  const kt::Tensor third = kt::print(second + 1, "third");
  kt::function({x}, third)(kt::Array::ones({3}));
  CHECK(shown.text() == "first f32 ()\n3.0\nsecond f32 ()\n30.0\nthird f32 ()\n31.0\n");
}

TEST_CASE("kt print: the gradient passes through") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor cost = kt::sum(kt::print(x * x, "squares") * x);
  const kt::Tensor gradient = kt::grad(cost, x);
  const kt::Tensor second = kt::grad(kt::sum(gradient), x);
  const auto f = kt::function({x}, {gradient, second});
  const auto [g, h] = f(kt::Array::from({2.f, 3.f}));
  CHECK(kt::all_close(g, kt::Array::from({12.f, 27.f}), 0, 0));
  CHECK(kt::all_close(h, kt::Array::from({12.f, 18.f}), 0, 0));
  CHECK(shown.text() == "squares f32 (2,)\n[4. 9.]\n");
}

TEST_CASE("kt print: in a training step, old values before their update") {
  Capture shown;
  auto w = kt::shared(kt::Array::ones({2}), "w");
  const auto f =
      kt::function({}, kt::sum(w), {.updates = {{w, kt::print(kt::print(w) * 2, "new w")}}});
  f();
  CHECK(shown.text() == "w f32 (2,)\n[1. 1.]\nnew w f32 (2,)\n[2. 2.]\n");
  f();
  CHECK(shown.text() == "w f32 (2,)\n[2. 2.]\nnew w f32 (2,)\n[4. 4.]\n");
  CHECK(w.get_value().data<float>()[1] == 4);
}

TEST_CASE("kt print: a step of scan shows in every iteration, in order") {
  Capture shown;
  auto x = kt::vector("x");
  const kt::Tensor h = kt::scan(
      [](const kt::Tensor& row, const kt::Tensor& before) {
        return kt::print(kt::print(row, "row") + before, "state");
      },
      {.sequences = {x}, .outputs_info = {kt::Tensor(kt::sum(x) * 0)}});
  const auto f = kt::function({x}, h[-1]);
  CHECK(f(kt::Array::from({1.f, 2.f})).item<float>() == 3);
  CHECK(shown.text() == "row f32 ()\n1.0\nstate f32 ()\n1.0\nrow f32 ()\n2.0\nstate f32 ()\n3.0\n");
  CHECK(f(kt::Array::from({5.f})).item<float>() == 5);
  CHECK(shown.text() == "row f32 ()\n5.0\nstate f32 ()\n5.0\n");
}

TEST_CASE("kt print: a context without it shows nothing") {
  Capture shown;
  auto x = kt::tensor("x", {3});
  const std::vector<kt::Tensor> inputs{x}, outputs{kt::print(x, "x") * 2};
  kt::Graph graph(inputs, outputs, {});
  kt::run_passes(graph);
  const kt::Program program = kt::lower(graph, "f", kt::x86_machine(16));
  const auto code =
      kt::codegen::link_objects(kt::codegen::generate_objects(program, kt::codegen::host_target()));
  const kt::Array values = kt::Array::from({1.f, 2.f, 3.f});
  kt::Array result = kt::Array::zeros({3});
  kt::Array arena = kt::Array::zeros({256}, kt::i64);
  std::vector<void*> args{const_cast<void*>(values.raw()), result.raw()};
  const std::int64_t sizes[2] = {1, 1};
  kroton_context context = kt::make_serial_context();
  REQUIRE(code->entry()(args.data(), sizes, arena.raw(), &context) == 0);
  CHECK(shown.text().empty());
  CHECK(result.data<float>()[2] == 6);
}

TEST_CASE("kt print: an exception of the stream ends the call, which has updated nothing") {
  auto w = kt::shared(kt::Array::ones({2}), "w");
  auto v = kt::shared(kt::Array::ones({2}), "v");
  auto x = kt::vector("x");
  const kt::Tensor shown = kt::print(w * 2, "shown");
  const kt::Tensor states = kt::scan(
      [](const kt::Tensor& row, const kt::Tensor& state) { return kt::print(row + state, "step"); },
      {.sequences = {x}, .outputs_info = {kt::zeros({})}});
  const kt::Tensor chosen =
      kt::ifelse(kt::sum(x) > 0, kt::print(x * 2, "taken"), kt::print(x * 3, "not taken"));
  using Updates = std::vector<kt::Update>;
  const auto make = [&](const kt::Tensor& out, const Updates& updates, bool profile) {
    return kt::function({x}, out, {.updates = updates, .name = "f", .profile = profile});
  };
  for (const bool profile : {false, true}) {
    CAPTURE(profile);
    const std::vector<kt::Function<1>> functions{
        // Updates by what is shown; by what is not; in place, where the old value is read last.
        make(kt::sum(x), {{w, shown}, {v, v + 1}}, profile),
        make(kt::sum(x) + kt::sum(shown), {{w, w + 1}, {v, w * 3}}, profile),
        make(states[-1], {{w, w + states[-1]}, {v, v * 2}}, profile),
        make(kt::sum(chosen), {{w, w + 1}, {v, v + kt::sum(chosen)}}, profile),
    };
    for (std::size_t k = 0; k < functions.size(); ++k) {
      CAPTURE(k);
      const kt::Array old_w = w.get_value(), old_v = v.get_value();
      {
        ActingStream stream([] { throw Refusal("no room"); });
        CHECK_THROWS_WITH_AS(functions[k](kt::Array::ones({3})), "no room", Refusal);
        CHECK(stream.text().empty());
      }
      CHECK(kt::array_equal(w.get_value(), old_w));
      CHECK(kt::array_equal(v.get_value(), old_v));
      // Its locks are free, and it works again.
      w.set_value(old_w);
      Capture capture;
      functions[k](kt::Array::ones({3}));
      CHECK_FALSE(capture.text().empty());
      CHECK_FALSE(kt::array_equal(w.get_value(), old_w));
      CHECK_FALSE(kt::array_equal(v.get_value(), old_v));
    }
  }
}

TEST_CASE("kt print: the first exception counts, in the middle of a loop too") {
  auto x = kt::vector("x");
  const kt::Tensor states = kt::scan(
      [](const kt::Tensor& row, const kt::Tensor& state) { return kt::print(row + state, "s"); },
      {.sequences = {x}, .outputs_info = {kt::zeros({})}});
  const auto f = kt::function({x}, kt::print(states[-1] * 10, "last"));
  int shown = 0;
  ActingStream stream([&] {
    if (++shown == 3) throw Refusal("the third");
  });
  CHECK_THROWS_WITH_AS(f(kt::Array::ones({5})), "the third", Refusal);
  CHECK(shown == 3);  // the call ended there
  CHECK(stream.text() == "s f32 ()\n1.0\ns f32 ()\n2.0\n");
}

TEST_CASE("kt print: what a function called from the stream's buffer prints is shown next") {
  auto x = kt::vector("x");
  const auto inner = kt::function({x}, kt::sum(kt::print(x, "inner")));
  const auto f = kt::function({x}, kt::print(x + 1, "outer") * 2);
  int depth = 0;
  float sum = 0;
  ActingStream stream([&] {
    if (depth++ < 2) sum += inner(kt::Array::full({1}, static_cast<float>(depth))).item<float>();
  });
  f(kt::Array::zeros({1}));
  CHECK(sum == 3);
  CHECK(stream.text() == "outer f32 (1,)\n[1.]\ninner f32 (1,)\n[1.]\ninner f32 (1,)\n[2.]\n");
}

TEST_CASE("kt print: a stream that prints whenever something is shown comes to an end") {
  auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x, "x") + 1);
  const kt::Array one = kt::Array::ones({1});
  ActingStream stream([&] { f(one); });
  CHECK_THROWS_WITH_AS(
      f(one), "print: the print stream calls a function that prints whenever something is shown",
      kt::ValueError);
}

TEST_CASE("kt print: the stream is exchanged from inside of its buffer") {
  auto x = kt::vector("x");
  const auto f = kt::function({x}, kt::print(x, "x") + 1);
  std::ostringstream next;
  ActingStream stream([&] { kt::set_print_stream(next); });
  f(kt::Array::ones({1}));
  f(kt::Array::ones({1}));
  CHECK(stream.text() == "x f32 (1,)\n[1.]\n");
  CHECK(next.str() == "x f32 (1,)\n[1.]\n");
}

TEST_CASE("kt print: what functions called from the stream's buffer may use") {
  auto w = kt::shared(kt::Array::ones({2}), "w");
  auto v = kt::shared(kt::Array::ones({2}), "v");
  const auto reads = kt::function({}, kt::sum(kt::print(w, "w")), {.name = "reads"});
  const auto updates = kt::function({}, {.updates = {{w, kt::print(w + 1, "w")}}});
  const auto sum_w = kt::function({}, kt::sum(w), {.name = "sum_w"});
  const auto update_w = kt::function({}, {.updates = {{w, w + 1}}, .name = "update_w"});
  const auto update_v = kt::function({}, {.updates = {{v, v + w}}, .name = "update_v"});
  const std::string refused =
      ": w is in use by the call that prints: from inside of a print stream, what that call "
      "updates cannot be used, and what it reads can only be read";
  std::vector<std::string> messages;
  const auto attempt = [&](const std::function<void()>& action) {
    try {
      action();
      messages.emplace_back();
    } catch (const kt::ValueError& error) {
      messages.emplace_back(error.what());
    }
  };
  ActingStream stream([&] {
    attempt([&] { sum_w(); });
    attempt([&] { w.get_value(); });
    attempt([&] { update_v(); });
    attempt([&] { update_w(); });
    attempt([&] { w.set_value(kt::Array::ones({2})); });
  });
  reads();
  CHECK(messages ==
        std::vector<std::string>{"", "", "", "update_w" + refused, "set_value" + refused});
  messages.clear();
  updates();
  CHECK(messages == std::vector<std::string>{"sum_w" + refused, "get_value" + refused,
                                             "update_v" + refused, "update_w" + refused,
                                             "set_value" + refused});
  CHECK(w.get_value().data<float>()[0] == 2);
  CHECK(v.get_value().data<float>()[0] == 2);
}

TEST_CASE("kt print: the buffer reads what an update on another thread waits for") {
  auto w = kt::shared(kt::Array::ones({2}), "w");
  const auto reads = kt::function({}, kt::sum(kt::print(w, "w")));
  const auto sum_w = kt::function({}, kt::sum(w));
  const auto update_w = kt::function({}, {.updates = {{w, w + 1}}});
  std::thread updating;
  float seen = 0;
  {
    ActingStream stream([&] {
      if (updating.joinable()) return;
      updating = std::thread([&] { update_w(); });
      while (kt::HeldLocks::waiting() != 1) std::this_thread::yield();
      seen = sum_w().item<float>();  // which may not wait for the update, which waits for the call
    });
    reads();
  }
  updating.join();
  CHECK(seen == 2);
  CHECK(sum_w().item<float>() == 4);
}

TEST_CASE("kt print: the buffer waits for a variable whose updating call prints") {
  auto w = kt::shared(kt::Array::ones({2}), "w");
  const auto sum_w = kt::function({}, kt::sum(w));
  const auto update_w = kt::function({}, {.updates = {{w, kt::print(w + 1, "new w")}}});
  auto u = kt::shared(kt::Array::ones({2}), "u");
  const auto begins = kt::function({}, kt::sum(kt::print(u, "u")));
  std::thread updating;
  bool started = false;
  float seen = 0;
  std::string text;
  {
    ActingStream stream([&] {
      if (started) return;
      started = true;
      updating = std::thread([&] { update_w(); });
      // Before the update has w, or after it: in between, this call waits for it, and it to print.
      while (seen != 4) seen = sum_w().item<float>();
    });
    begins();
    updating.join();
    text = stream.text();
  }
  CHECK(seen == 4);
  CHECK(text == "u f32 (2,)\n[1. 1.]\nnew w f32 (2,)\n[2. 2.]\n");
}
