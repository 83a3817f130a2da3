// Programs as C++ text.
#include <array>
#include <cmath>
#include <cstdio>

#include "tests/fuzz/program.h"

namespace fuzz {
namespace {

std::string number(double x) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", x);
  std::string result = text.data();
  return result.find_first_of(".en") == std::string::npos ? result + ".0" : result;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

std::string dtype_text(kt::DType dtype) { return "kt::" + std::string(kt::name_of(dtype)); }

std::string ints(const std::vector<int>& list) {
  std::vector<std::string> parts;
  for (const int x : list) parts.push_back(std::to_string(x));
  return "{" + joined(parts) + "}";
}

std::string host_shape(const kt::Shape& shape) {
  std::vector<std::string> parts;
  for (const std::int64_t size : shape) parts.push_back(std::to_string(size));
  return "kt::Shape{" + joined(parts) + "}";
}

class Writer {
 public:
  explicit Writer(const Program& program) : program_(program) {}

  std::string run(const std::vector<std::string>& comment) {
    for (const std::string& part : comment) line(part.empty() ? "//" : "// " + part);
    line("#include <kroton/kroton.h>");
    line("");
    line("#include <iostream>");
    line("namespace kt = kroton;");
    line("");
    line("int main() {");
    indent_ = "  ";
    std::vector<std::string> inputs, updates, outputs;
    for (const Variable& variable : program_.variables) {
      declare(variable);
      if (!variable.shared) inputs.push_back(name(variable.value));
    }
    block(program_.main);
    for (const Value v : program_.main.results) outputs.push_back(name(v));
    for (const auto& [target, value] : program_.updates) {
      updates.push_back("{" + name(target) + ", " + name(value) + "}");
    }
    line("const auto f = kt::function({" + joined(inputs) + "}, std::vector<kt::Tensor>{" +
         joined(outputs) + "}, {.updates = {" + joined(updates) +
         "}, .on_unused_input = kt::UnusedInput::ignore});");
    call(false);
    bool differs = false;
    for (const Size& size : program_.sizes) differs = differs || size.first != size.second;
    if (differs) call(true);
    line("}", -1);
    return text_;
  }

 private:
  void line(const std::string& text, int level = 0) {
    if (level < 0) indent_.resize(indent_.size() - 2);
    text_ += (text.empty() ? "" : indent_ + text) + "\n";
    if (level > 0) indent_ += "  ";
  }

  static std::string name(Value v) { return "x" + std::to_string(v); }

  // Where a free size that has no name of its own can be read.
  std::string size_name(const kt::DimAtomRef& atom) const {
    for (const Variable& variable : program_.variables) {
      for (std::size_t axis = 0; axis < variable.shape.size(); ++axis) {
        const kt::DimAtomRef other = variable.shape[axis].as_variable();
        if (other && other->identity == atom->identity && is_free(*atom) &&
            is_own(variable, *atom)) {
          return name(variable.value) + ".shape(" + std::to_string(axis) + ")";
        }
      }
    }
    return "kt::dim(\"" + atom->name + "\")";
  }
  std::string dim(const kt::Dim& d) const {
    if (d.is_constant()) return std::to_string(d.constant());
    std::string text;
    for (const kt::Dim::Term& term : d.terms()) {
      std::string product;
      if (term.coefficient != 1 || term.factors.empty()) {
        product = "kt::Dim(" + std::to_string(term.coefficient) + ")";
      }
      for (const kt::DimAtomRef& atom : term.factors) {
        product += (product.empty() ? "" : " * ") + atom_text(atom);
      }
      text += (text.empty() ? "" : " + ") + product;
    }
    return text;
  }

  std::string atom_text(const kt::DimAtomRef& atom) const {
    if (atom->kind == kt::DimAtom::Kind::variable) return size_name(atom);
    const char* function = atom->kind == kt::DimAtom::Kind::floor_div ? "floor_div"
                           : atom->kind == kt::DimAtom::Kind::minimum ? "minimum"
                                                                      : "maximum";
    return std::string("kt::") + function + "(kt::Dim(" + dim(atom->operands[0]) + "), kt::Dim(" +
           dim(atom->operands[1]) + "))";
  }

  std::string dims(const kt::Dims& shape) const {
    std::vector<std::string> parts;
    for (const kt::Dim& d : shape) parts.push_back(dim(d));
    return "kt::Dims{" + joined(parts) + "}";
  }

  void declare(const Variable& variable) {
    const std::string quoted = "\"" + name(variable.value) + "\"";
    std::string value;
    bool all_free = !variable.shape.empty();
    for (const kt::Dim& d : variable.shape) {
      const kt::DimAtomRef atom = d.as_variable();
      all_free = all_free && atom && is_free(*atom) && is_own(variable, *atom);
    }
    constexpr const char* makers[] = {"scalar", "vector", "matrix", "tensor3", "tensor4"};
    if (variable.shared) {
      value = "kt::shared(" +
              contents_of(program_, variable, false)
                  .text(shape_of(program_, variable.shape, false), variable.dtype) +
              ", " + quoted + ")";
    } else if (all_free || variable.shape.empty()) {
      value = "kt::" + std::string(makers[variable.shape.size()]) + "(" + quoted + ", " +
              dtype_text(variable.dtype) + ")";
    } else {
      value = "kt::tensor(" + quoted + ", " + dims(variable.shape) + ", " +
              dtype_text(variable.dtype) + ")";
    }
    line("auto " + name(variable.value) + " = " + value + ";");
  }

  std::string names(const std::vector<Value>& values, std::size_t first, std::size_t count) const {
    std::vector<std::string> parts;
    for (std::size_t k = first; k < first + count; ++k) parts.push_back(name(values[k]));
    return "{" + joined(parts) + "}";
  }

  std::string cut_text(const kt::ops::Cut& cut, const std::vector<Value>& operands) const {
    const auto bound = [&](const std::optional<kt::Dim>& d) {
      return d ? "kt::Dim(" + dim(*d) + ")" : std::string("kt::end");
    };
    switch (cut.kind) {
      case kt::ops::Cut::Kind::whole:
        return "kt::all";
      case kt::ops::Cut::Kind::part:
        return "kt::slice(" + bound(cut.start) + ", " + bound(cut.stop) + ", " +
               std::to_string(cut.step) + ")";
      case kt::ops::Cut::Kind::position:
        return std::to_string(cut.position);
      case kt::ops::Cut::Kind::tensor:
        break;
    }
    return name(operands[static_cast<std::size_t>(cut.slot.number)]);
  }

  // A monostate stands for an empty list of axes, which is left to the default.
  std::string argument(const kt::ops::Argument& a, const std::vector<Value>& operands) const {
    const auto operand = [&](kt::ops::Slot slot) {
      return name(operands[static_cast<std::size_t>(slot.number)]);
    };
    struct Text {
      const Writer& writer;
      const std::vector<Value>& operands;
      const decltype(operand)& operand_of;
      std::string operator()(std::monostate) const { return "{}"; }
      std::string operator()(kt::ops::Slot slot) const { return operand_of(slot); }
      std::string operator()(const std::vector<kt::ops::Slot>& slots) const {
        std::vector<std::string> parts;
        for (const kt::ops::Slot slot : slots) parts.push_back(operand_of(slot));
        return "std::vector<kt::Tensor>{" + joined(parts) + "}";
      }
      std::string operator()(double x) const { return number(x); }
      std::string operator()(std::int64_t x) const { return std::to_string(x); }
      std::string operator()(int x) const { return std::to_string(x); }
      std::string operator()(bool x) const { return x ? "true" : "false"; }
      std::string operator()(const std::vector<int>& x) const { return ints(x); }
      std::string operator()(const kt::Dim& x) const { return writer.dim(x); }
      std::string operator()(const kt::Dims& x) const { return writer.dims(x); }
      std::string operator()(kt::DType x) const { return dtype_text(x); }
      std::string operator()(const std::string& x) const { return "\"" + x + "\""; }
      std::string operator()(const kt::ops::Widths& widths) const {
        std::vector<std::string> parts;
        for (const auto& [before, after] : widths) {
          parts.push_back("{" + writer.dim(before) + ", " + writer.dim(after) + "}");
        }
        return "{" + joined(parts) + "}";
      }
      std::string operator()(const kt::PerAxis& numbers) const {
        std::vector<std::string> parts;
        for (const std::int64_t number : numbers.values()) parts.push_back(std::to_string(number));
        return "{" + joined(parts) + "}";
      }
      std::string operator()(const kt::Padding& padding) const {
        constexpr const char* names[] = {"kt::Padding::valid", "kt::Padding::same",
                                         "kt::Padding::full"};
        if (padding.kind() != kt::Padding::Kind::given) {
          return names[static_cast<int>(padding.kind())];
        }
        return padding.widths().size() == 1 ? writer.dim(padding.widths()[0].first)
                                            : (*this)(padding.widths());
      }
      std::string operator()(const kt::ConvolutionOptions& o) const {
        return "{.stride = " + (*this)(o.stride) + ", .padding = " + (*this)(o.padding) +
               ", .dilation = " + (*this)(o.dilation) + ", .groups = " + std::to_string(o.groups) +
               (o.layout == kt::Layout::channels_last ? ", .layout = kt::Layout::channels_last"
                                                      : "") +
               ", .flip = " + (*this)(o.flip) + "}";
      }
      std::string operator()(const kt::ConvTransposeOptions& o) const {
        return "{.stride = " + (*this)(o.stride) + ", .padding = " + (*this)(o.padding) +
               ", .dilation = " + (*this)(o.dilation) + ", .flip = " + (*this)(o.flip) + "}";
      }
      std::string operator()(const kt::MaxPoolOptions& o) const {
        return "{.stride = kt::PerAxis" + (*this)(*o.stride) +
               ", .padding = " + (*this)(o.padding) + ", .dilation = " + (*this)(o.dilation) +
               ", .ceil_mode = " + (*this)(o.ceil_mode) + "}";
      }
      std::string operator()(const kt::AveragePoolOptions& o) const {
        return "{.stride = kt::PerAxis" + (*this)(*o.stride) +
               ", .padding = " + (*this)(o.padding) +
               ", .counts_padding = " + (*this)(o.counts_padding) +
               ", .ceil_mode = " + (*this)(o.ceil_mode) + "}";
      }
      std::string operator()(const std::vector<kt::ops::Cut>& cuts) const {
        std::vector<std::string> parts;
        for (const kt::ops::Cut& cut : cuts) parts.push_back(writer.cut_text(cut, operands));
        return joined(parts);
      }
    };
    return std::visit(Text{*this, operands, operand}, a);
  }

  void statement(const Statement& s) {
    if (const auto* operation = std::get_if<Operation>(&s.what)) {
      const kt::ops::Call& call = operation->call;
      std::vector<std::string> arguments;
      for (const kt::ops::Argument& a : call.arguments) {
        arguments.push_back(argument(a, s.operands));
      }
      std::string value;
      if (call.function == "index") {
        value = arguments[0] + "(" + arguments[1] + ")";
      } else if (std::holds_alternative<std::monostate>(call.arguments.back())) {
        arguments.pop_back();
        value = "kt::" + call.function + "(" + joined(arguments) + ")";
      } else {
        value = "kt::" + call.function + "(" + joined(arguments) + ")";
      }
      line("kt::Tensor " + name(s.results[0]) + " = " + value + ";");
    } else if (const auto* loop = std::get_if<Scan>(&s.what)) {
      scan(s, *loop);
    } else {
      gradient(s, std::get<Gradient>(s.what));
    }
  }

  void give_names(const std::string& list, const std::vector<Value>& values) {
    for (std::size_t k = 0; k < values.size(); ++k) {
      line("kt::Tensor " + name(values[k]) + " = " + list + "[" + std::to_string(k) + "];");
    }
  }

  void scan(const Statement& s, const Scan& loop) {
    const std::string list = "scan" + name(s.results[0]);
    line("const std::vector<kt::Tensor> " + list +
             " = kt::scan([=](std::span<const kt::Tensor> a) {",
         1);
    give_names("a", loop.body.parameters);
    block(loop.body);
    line("return std::vector<kt::Tensor>" + names(loop.body.results, 0, loop.body.results.size()) +
         ";");
    std::size_t next = 0;
    std::vector<std::string> sequences, states, others;
    for (const auto& taps : loop.sequence_taps) {
      sequences.push_back("{" + name(s.operands[next++]) + ", " + ints(taps) + "}");
    }
    for (const auto& taps : loop.state_taps) {
      states.push_back(taps.empty() ? "kt::none"
                                    : "{" + name(s.operands[next++]) + ", " + ints(taps) + "}");
    }
    std::string options =
        ".sequences = {" + joined(sequences) + "}, .outputs_info = {" + joined(states) + "}";
    const auto count = static_cast<std::size_t>(loop.non_sequences);
    if (count > 0) options += ", .non_sequences = " + names(s.operands, next, count);
    next += count;
    if (loop.counted) options += ", .n_steps = " + name(s.operands[next]);
    if (loop.steps) options += ", .n_steps = kt::Dim(" + dim(*loop.steps) + ")";
    if (loop.backwards) options += ", .go_backwards = true";
    if (loop.truncate >= 0) options += ", .truncate_gradient = " + std::to_string(loop.truncate);
    line("}, {" + options + "});", -1);
    give_names(list, s.results);
  }

  void gradient(const Statement& s, const Gradient& g) {
    const std::string list = "grad" + name(s.results[0]);
    const auto costs = static_cast<std::size_t>(g.costs);
    const auto cotangents = static_cast<std::size_t>(g.cotangents);
    const auto wrt = static_cast<std::size_t>(g.wrt);
    const auto constants = static_cast<std::size_t>(g.constants);
    const std::string by = "std::vector<kt::Tensor>" + names(s.operands, costs + cotangents, wrt);
    std::string options =
        ".consider_constant = " + names(s.operands, costs + cotangents + wrt, constants) +
        ", .allow_unused = true";
    std::string text;
    if (g.form == Gradient::Form::vjp) {
      text = "kt::vjp(" + names(s.operands, 0, costs) + ", " + by + ", " +
             names(s.operands, costs, cotangents) + ")";
    } else if (g.form == Gradient::Form::known) {
      std::vector<std::string> pairs;
      for (std::size_t k = 0; k < costs; ++k) {
        pairs.push_back("{" + name(s.operands[k]) + ", " + name(s.operands[costs + k]) + "}");
      }
      text = "kt::grad(kt::Tensor(), " + by + ", {" +
             ".consider_constant = " + names(s.operands, costs + cotangents + wrt, constants) +
             ", .known_grads = {" + joined(pairs) + "}, .allow_unused = true})";
    } else {
      text = "kt::grad(" + name(s.operands[0]) + ", " + by + ", {" + options + "})";
    }
    line("const std::vector<kt::Tensor> " + list + " = " + text + ";");
    give_names(list, s.results);
  }

  void block(const Block& b) {
    for (const Statement& s : b.statements) statement(s);
  }

  void call(bool second) {
    std::vector<std::string> arguments;
    for (const Variable& v : program_.variables) {
      if (!v.shared) {
        arguments.push_back(
            contents_of(program_, v, second).text(shape_of(program_, v.shape, second), v.dtype));
      }
    }
    line("for (const kt::Array& y : f(" + joined(arguments) + ")) std::cout << y << \"\\n\";");
    for (const auto& [target, value] : program_.updates) {
      line("std::cout << " + name(target) + ".get_value() << \"\\n\";");
    }
    if (!second) {
      for (const Variable& v : program_.variables) {
        if (!v.shared) continue;
        line(name(v.value) + ".set_value(" +
             contents_of(program_, v, false).text(shape_of(program_, v.shape, false), v.dtype) +
             ");");
      }
    }
  }

  const Program& program_;
  std::string text_, indent_;
};

}  // namespace

std::string Contents::text(const kt::Shape& shape, kt::DType dtype) const {
  const auto uniform = [&](double from, double to, kt::DType type) {
    return "kt::Array::uniform(" + host_shape(shape) + ", " + std::to_string(seed) + ", " +
           number(from) + ", " + number(to) + ", " + dtype_text(type) + ")";
  };
  if (dtype == kt::boolean) {
    return uniform(0, 2, kt::f64) + ".cast(kt::i32).cast(kt::boolean)";
  }
  if (whole || kt::is_integer(dtype)) {
    return uniform(low, high, kt::f64) + ".cast(kt::i64).cast(" + dtype_text(dtype) + ")";
  }
  return uniform(low, high, dtype);
}

std::string cpp_text(const Program& program, const std::vector<std::string>& comment) {
  return Writer(program).run(comment);
}

}  // namespace fuzz
