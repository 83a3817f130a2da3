#include "compiler/aot/c_header.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "compiler/base/c_names.h"

namespace kroton::aot {
namespace {

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

class HeaderWriter {
 public:
  HeaderWriter(const CInterface& interface, const Program& program)
      : c_(interface), program_(program) {}

  std::string run() {
    const std::string guard = "KROTON_AOT_" + c_.name + "_H";
    opening_comment();
    line("#ifndef " + guard);
    line("#define " + guard);
    line();
    line("#include <stddef.h>");
    line("#include <stdint.h>");
    line();
    line("#ifdef __cplusplus");
    line("extern \"C\" {");
    line("#endif");
    line();
    if (c_.threads) {
      line("/* Made by kroton_context_create() of <kroton/aot_runtime.h>. */");
      line("struct kroton_context;");
      line();
    }
    if (!c_.states.empty()) state();
    arena();
    call();
    error();
    line("#ifdef __cplusplus");
    line("}");
    line("#endif");
    line();
    line("#endif /* " + guard + " */");
    return text_;
  }

 private:
  void line(const std::string& text = "") { text_ += text + "\n"; }

  void opening_comment() {
    line("/* " + c_.name + ": written by Kroton for " + c_.target + "  [" +
         in_c_comment(c_.source) + "]");
    line();
    line("   Link " + c_.name + ".o" +
         (c_.threads ? ", the library kroton_aot_runtime, libm and the system's threads."
                     : " and libm."));
    std::set<std::string> libraries;
    for (const auto& callee : callees(program_)) {
      if (!callee->is_users()) {
        libraries.insert(callee->libraries);
        continue;
      }
      line("   It calls int32_t " + callee->options.name +
           "(void* const* arrays, const int64_t* sizes), which is yours to link.");
    }
    for (const std::string& names : libraries) line("   Link " + names + " too.");
    line(
        "   Arrays are row-major and dense; a boolean is an uint8_t, 0 or 1, an f16 or bf16 the "
        "uint16_t");
    line("   of its bits. The result of a function is 0, or the number of an error, whose text");
    line("   " + c_.name + "_error() gives.");
    line();
    line(
        "   Memory: everything belongs to the caller. A call allocates nothing and keeps no "
        "pointer.");
    line(
        "   Outputs, states and the arena must not overlap one another or an input. A pointer to "
        "an");
    line("   array without elements may be null.");
    line();
    line("   Threads: calls may run at the same time if they share no arena" +
         std::string(c_.threads ? ", no context" : "") + ", no output");
    line("   and no state that one of them updates. */");
  }

  std::string type_text(const TensorType& type) const {
    std::string kind(info_of(type.dtype).c_type);
    const bool has_other_name = type.dtype == DType::boolean || is_only_stored(type.dtype);
    if (has_other_name) kind += " " + std::string(name_of(type.dtype));
    if (type.rank() == 0) return kind + ", one number";
    std::string text;
    for (const Dim& dim : type.shape) text += (text.empty() ? "" : ", ") + shown(dim);
    return kind + " (" + text + ")";
  }

  // With the sizes under their names in C.
  std::string shown(const Dim& dim) const {
    return in_c_comment(dim.to_string([&](const DimAtom& atom) {
      for (const CInterface::Size& size : c_.sizes) {
        if (size.variable->identity == atom.identity) return size.name;
      }
      return atom.name;
    }));
  }

  static std::string count_of(const TensorType& type) {
    std::int64_t count = 1;
    for (const Dim& dim : type.shape) count *= dim.constant();
    return std::to_string(std::max<std::int64_t>(count, 1));
  }

  void state() {
    const std::string type = "struct " + c_.name + "_state";
    line(
        "/* The shared variables, in memory of the caller's that outlives the calls. Functions "
        "that");
    line("   are given the same pointers share them. Fields that a call only reads are const. */");
    line("typedef " + type + " {");
    for (std::size_t k = 0; k < c_.states.size(); ++k) {
      const CInterface::Array& s = c_.states[k];
      const bool updated = program_.state_is_updated[k];
      line("  " + std::string(updated ? "" : "const ") + std::string(info_of(s.type.dtype).c_type) +
           "* " + s.name + "; /* " + type_text(s.type) + ", " + (updated ? "updated" : "read") +
           "; " + in_c_comment(s.source) + "; byte " + std::to_string(c_.state_offsets[k]) + " */");
    }
    line("} " + c_.name + "_state;");
    line();
    line(
        "/* Bytes of one block of memory for all of them; they begin at the bytes named above. */");
    const std::string macro = upper(c_.name) + "_STATE_BYTES";
    line("#ifdef " + macro);
    line("#error \"another function's name differs from " + c_.name + " in capitals only\"");
    line("#endif");
    line("#define " + macro + " " + std::to_string(c_.state_bytes));
    line();
    line("/* Points the fields into such a block, aligned to 64 bytes. Does not write to it. */");
    line("int " + c_.name + "_state_place(" + c_.name + "_state* state, void* memory);");
    line();
    if (!c_.initial_values) return;
    line(
        "/* The same, and fills the block with the values that the variables had when this file "
        "was");
    line("   written. */");
    line("int " + c_.name + "_state_init(" + c_.name + "_state* state, void* memory);");
    line();
    line("/* Those values. A field that is only read may point here. */");
    for (const CInterface::Array& s : c_.states) {
      line("extern const " + std::string(info_of(s.type.dtype).c_type) + " " + c_.name +
           "_initial_" + s.name + "[" + count_of(s.type) + "];");
    }
    line();
  }

  std::string size_parameters() const {
    std::string text = c_.threads ? "const struct kroton_context* context" : "";
    for (const CInterface::Size& size : c_.sizes) {
      text += (text.empty() ? "" : ", ") + ("int64_t " + size.name);
    }
    return text.empty() ? "void" : text;
  }

  void arena() {
    line(
        "/* Bytes of scratch memory that a call at these sizes needs; 0 where the call would "
        "refuse");
    line("   the sizes. A larger arena does as well. */");
    line("size_t " + c_.name + "_arena_bytes(" + size_parameters() + ");");
    line();
  }

  void call() {
    std::vector<std::string> parameters;
    std::vector<std::pair<std::string, std::string>> notes;
    const auto add = [&](const std::string& type, const std::string& name,
                         const std::string& note) {
      parameters.push_back(type + name);
      notes.emplace_back(name, note);
    };
    if (c_.threads) add("struct kroton_context* ", "context", "its threads; one call at a time");
    for (const CInterface::Size& size : c_.sizes) {
      if (size.input >= 0) continue;
      add("int64_t ", size.name,
          "size" + (size.shown == size.name ? "" : " (" + in_c_comment(size.shown) + ")") +
              ", not below 0");
    }
    for (const CInterface::Array& input : c_.inputs) {
      const std::string note = "in: " + type_text(input.type) + "; " + in_c_comment(input.source);
      if (input.type.rank() == 0) {
        add(std::string(info_of(input.type.dtype).c_type) + " ", input.name, note);
      } else {
        add("const " + std::string(info_of(input.type.dtype).c_type) + "* ", input.name, note);
      }
    }
    if (!c_.states.empty()) {
      add("const " + c_.name + "_state* ", "state", "the shared variables");
    }
    for (const CInterface::Array& output : c_.outputs) {
      add(std::string(info_of(output.type.dtype).c_type) + "* ", output.name,
          "out: " + type_text(output.type) + "; " + in_c_comment(output.source));
    }
    add("void* ", "arena", "scratch memory, aligned to 64 bytes");
    add("size_t ", "arena_bytes", "its size, at least " + c_.name + "_arena_bytes()");

    std::size_t width = 0;
    for (const auto& [name, note] : notes) width = std::max(width, name.size());
    line("/* One call." + std::string(c_.states.empty()
                                          ? ""
                                          : " All outputs and updates are computed from the states'"
                                            " old values; after an"));
    if (!c_.states.empty()) line("   error the states are as before the call.");
    line();
    for (const auto& [name, note] : notes) {
      line("     " + name + std::string(width + 2 - name.size(), ' ') + note);
    }
    line("*/");
    std::string text = "int " + c_.name + "(";
    std::size_t column = text.size();
    const std::string indent(column, ' ');
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      const std::string part = parameters[k] + (k + 1 < parameters.size() ? "," : ");");
      if (k != 0 && column + 1 + part.size() > 100) {
        text += "\n" + indent;
        column = indent.size();
      } else if (k != 0) {
        text += " ";
        ++column;
      }
      text += part;
      column += part.size();
    }
    line(text);
    line();
  }

  void error() {
    line("/* The text of a code that a function of this file returned; static memory. The codes:");
    line();
    for (std::size_t k = 0; k < c_.checks.size(); ++k) {
      const std::string number = std::to_string(k + 1);
      line("     " + std::string(number.size() < 3 ? 3 - number.size() : 0, ' ') + number + "  " +
           in_c_comment(c_.checks[k].message));
    }
    line("*/");
    line("const char* " + c_.name + "_error(int code);");
    line();
  }

  const CInterface& c_;
  const Program& program_;
  std::string text_;
};

}  // namespace

std::string c_header(const CInterface& interface, const Program& program) {
  return HeaderWriter(interface, program).run();
}

}  // namespace kroton::aot
