#include "tests/docs/operations_page.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "compiler/ir/leaf.h"
#include "compiler/ops/records.h"
#include "tests/tools/places.h"

namespace {

using namespace kroton;  // NOLINT: tests

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Text in a table: outside of code, what Markdown takes for its own is escaped.
std::string cell(const std::string& text) {
  std::string result;
  bool is_code = false;
  for (const char c : text) {
    if (c == '`') is_code = !is_code;
    if (c == '|' || (!is_code && (c == '<' || c == '*'))) result += '\\';
    result += c;
  }
  return result;
}

// ---- What a header says.

struct Declaration {
  std::string name, signature, meaning;
};
struct Section {
  std::string title, text;
  std::vector<Declaration> declarations;
};

// "// text" without the slashes; more than one line are one.
void add_comment(std::string& comment, const std::string& line) {
  const auto slashes = line.find("//");
  std::string text = line.substr(slashes + 2);
  if (text.starts_with(" ")) text.erase(0, 1);
  if (!comment.empty() && !text.empty()) comment += ' ';
  comment += text;
}

// The declarations of functions in a header, under the headings "// ---- Title. Text" of its parts.
// The meaning of a declaration is the comment behind it, or else what stands above it or above
// others right before it.
std::vector<Section> sections_of(const std::filesystem::path& header) {
  std::vector<Section> sections(1);
  std::string comment, above;
  bool is_heading = false;
  int depth = 0;  // of braces: members of classes are the classes' own matter
  const auto count_braces = [&](const std::string& line) {
    if (line.starts_with("namespace") || line.starts_with("}  // namespace")) return;
    depth += static_cast<int>(std::count(line.begin(), line.end(), '{'));
    depth -= static_cast<int>(std::count(line.begin(), line.end(), '}'));
  };
  const std::vector<std::string> lines = lines_of(header);
  for (std::size_t k = 0; k < lines.size(); ++k) {
    const std::string& line = lines[k];
    if (line.starts_with("// ----")) {
      if (!is_heading) sections.emplace_back();
      is_heading = true;
      const auto begin = line.find_first_not_of("/- ");
      std::string& text = sections.back().text;
      if (begin != std::string::npos) text += (text.empty() ? "" : " ") + line.substr(begin);
      comment.clear();
      continue;
    }
    if (line.starts_with("//")) {
      add_comment(comment, line);
      continue;
    }
    is_heading = false;
    if (line.empty()) {
      comment.clear();
      above.clear();
      continue;
    }
    const bool at_top = depth == 0;
    count_braces(line);
    const auto bracket = line.find('(');
    const bool returns =
        line.starts_with("Tensor ") || line.starts_with("Mask ") ||
        line.starts_with("std::vector<Tensor> ") || line.starts_with("std::array<Tensor, ") ||
        line.starts_with("std::pair<Tensor, Tensor> ") ||
        (std::isupper(static_cast<unsigned char>(line[0])) && line.find(' ') < bracket);
    if (!at_top || !returns || bracket == std::string::npos) {
      comment.clear();
      continue;
    }
    std::string declaration = line, behind;
    std::size_t last = k;
    while (declaration.find(';') == std::string::npos && !declaration.ends_with('{') &&
           last + 1 < lines.size()) {
      const std::string& next = lines[++last];
      count_braces(next);
      declaration += ' ' + next.substr(std::min(next.find_first_not_of(' '), next.size()));
    }
    k = last;
    if (const auto at = declaration.find("; "); at != std::string::npos) {
      const std::string rest = declaration.substr(at);
      if (rest.find("//") != std::string::npos) add_comment(behind, rest);
    }
    // Templates are defined where they are declared.
    if (const auto body = declaration.find(") {"); body != std::string::npos) {
      declaration.resize(body + 1);
    }
    declaration = declaration.substr(0, declaration.find(';'));
    if (declaration.find("= delete") != std::string::npos) continue;
    // The type of the result may have brackets of its own.
    const auto begin = line.starts_with("std::") ? declaration.find("> ") : 0;
    const auto open = declaration.find('(', begin);
    const auto name_begin = declaration.rfind(' ', open) + 1;
    const std::string name = declaration.substr(name_begin, open - name_begin);
    if (name.find("operator") != std::string::npos) continue;
    if (!comment.empty()) above = std::exchange(comment, "");
    sections.back().declarations.push_back(
        {name, declaration.substr(name_begin), behind.empty() ? above : behind});
  }
  for (Section& section : sections) {
    const auto end = section.text.find('.');
    section.title = section.text.substr(0, end);
    if (end != std::string::npos) {
      const auto next = section.text.find_first_not_of(". ", end);
      section.text = next == std::string::npos ? "" : section.text.substr(next);
    } else {
      section.text.clear();
    }
  }
  return sections;
}

// The first sentence of the comment that a header begins with.
std::string title_of(const std::filesystem::path& header) {
  std::string comment;
  for (const std::string& line : lines_of(header)) {
    if (!line.starts_with("//")) break;
    add_comment(comment, line);
  }
  const auto end = comment.find(". ");
  std::string title = comment.substr(0, std::min(end, comment.size()));
  if (title.ends_with('.')) title.pop_back();
  return title;
}

// "atan2(const Operand& y, const Operand& x)" -> "atan2(y, x)": names, and what a parameter is
// unless given.
std::string as_call(const std::string& signature) {
  const auto open = signature.find('('), close = signature.rfind(')');
  std::string result = signature.substr(0, open) + '(', parameter;
  int depth = 0;
  bool first = true;
  const auto finish = [&] {
    const auto value = parameter.find(" = ");
    std::string name = parameter.substr(0, value);
    name = name.substr(name.find_last_of(" &") + 1);
    const bool is_line = parameter.find("Location") != std::string::npos ||
                         parameter.find("source_location") != std::string::npos;
    if (!is_line && !parameter.empty()) {
      result += (first ? "" : ", ") + name;
      if (value != std::string::npos) result += parameter.substr(value);
      first = false;
    }
    parameter.clear();
  };
  for (std::size_t k = open + 1; k < close; ++k) {
    const char c = signature[k];
    depth += c == '(' || c == '<' || c == '{' ? 1 : c == ')' || c == '>' || c == '}' ? -1 : 0;
    if (c == ',' && depth == 0) {
      finish();
      while (k + 1 < close && signature[k + 1] == ' ') ++k;
    } else {
      parameter += c;
    }
  }
  finish();
  return result + ')';
}

// ---- What a record knows.

// Whether the sample's op takes bf16 where the sample has f32.
bool takes_16_bits(const Sample& sample) {
  std::vector<Tensor> inputs;
  for (const ReferenceValue& value : sample.inputs) {
    const Dims shape(value.shape.begin(), value.shape.end());
    inputs.push_back(make_input("x", {value.dtype == f32 ? bf16 : value.dtype, shape}, {}));
  }
  try {
    sample.apply(inputs);
    return true;
  } catch (const TypeError&) {
    return false;
  }
}

// The dtypes of the operands by their kinds, as the op's samples have them.
std::string dtypes_of(const OpRecord& op) {
  bool booleans = false, integers = false, floats = false, narrow = true;
  for (const Sample& sample : op.samples ? op.samples() : std::vector<Sample>()) {
    bool has_f32 = false;
    for (const ReferenceValue& value : sample.inputs) {
      booleans = booleans || value.dtype == boolean;
      integers = integers || is_integer(value.dtype);
      floats = floats || is_float(value.dtype);
      has_f32 = has_f32 || value.dtype == f32;
    }
    narrow = narrow && (!has_f32 || takes_16_bits(sample));
  }
  std::string text;
  const auto add = [&](bool has, const char* kind) {
    if (has) text += (text.empty() ? "" : ", ") + std::string(kind);
  };
  add(booleans, "boolean");
  add(integers, "integers");
  add(floats, narrow ? "floating" : "f32, f64");
  return text;
}

bool has_gradient(const OpRecord& op) { return op.vjp != nullptr || op.vjp_results != nullptr; }
bool has_rows(const OpRecord& op) { return op.batch != nullptr; }

// What stands above each record in the sources, by its name.
std::map<std::string, std::string> meanings() {
  std::map<std::string, std::string> result;
  const std::string root = places::source_dir() + "/compiler";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".cpp") continue;
    std::string comment;
    for (const std::string& line : lines_of(entry.path())) {
      const std::string_view begin = "constinit const OpRecord ";
      if (line.starts_with("//")) {
        add_comment(comment, line);
        continue;
      }
      // What members of a family differ in stands before their records.
      const auto how = line.find("_how");
      if (line.starts_with("constexpr ") && how != std::string::npos) {
        const auto name = line.rfind(' ', how) + 1;
        result.try_emplace(line.substr(name, how - name), comment);
      }
      if (line.starts_with(begin)) {
        const auto end = line.find("_op", begin.size());
        const auto known =
            result.try_emplace(line.substr(begin.size(), end - begin.size()), comment).first;
        if (known->second.empty()) known->second = comment;
      }
      comment.clear();
    }
  }
  return result;
}

const char* yes(bool is) { return is ? "yes" : ""; }

void print_header(std::ostream& out, const std::filesystem::path& header,
                  const std::map<std::string, const OpRecord*>& records,
                  const std::map<std::string, std::string>& known) {
  std::vector<Section> sections = sections_of(header);
  std::erase_if(sections, [](const Section& s) { return s.declarations.empty(); });
  if (sections.empty()) return;
  out << "\n## " << title_of(header) << "\n\nIn `<kroton/" << header.filename().string() << ">`.\n";
  for (const Section& section : sections) {
    if (!section.title.empty()) out << "\n### " << section.title << "\n";
    if (!section.text.empty()) out << '\n' << section.text << '\n';
    out << "\n| operation | meaning | dtypes | gradient | rows | cost "
           "|\n|---|---|---|---|---|---|\n";
    for (const Declaration& d : section.declarations) {
      // The record of this name is what broadcast_to() makes.
      const bool is_exchange = d.name == "broadcast" && header.filename() == "collectives.h";
      const auto found = is_exchange ? records.end() : records.find(d.name);
      const auto meaning = known.find(d.name);
      out << "| `" << as_call(d.signature) << "` | "
          << cell(d.meaning.empty() && meaning != known.end() ? meaning->second : d.meaning)
          << " |";
      if (found == records.end()) {
        out << " | | | |\n";
        continue;
      }
      const OpRecord& op = *found->second;
      out << ' ' << dtypes_of(op) << " | " << yes(has_gradient(op)) << " | " << yes(has_rows(op))
          << " | " << op.cost << " |\n";
    }
  }
}

}  // namespace

std::string operations_page() {
  std::map<std::string, const OpRecord*> records;
  for (const OpRecord* op : all_ops()) records[std::string(op->name)] = op;
  const std::map<std::string, std::string> known = meanings();
  std::ostringstream out;
  out << "# Operations\n\n"
         "Made from the public headers and the records of the ops by `bash tests/run "
         "--update-golden`; a test holds it to them. All functions are in namespace `kroton` and "
         "come with `<kroton/kroton.h>`.\n\n"
         "An operation that has a record of its own shows what the record knows: the **dtypes** of "
         "the operands, by their kinds ([all of them](dtypes.md)); whether it has a **gradient** "
         "(of every order); "
         "whether it has a rule for many **rows** at once, by which a loop's work on sequences is "
         "done before the loop; the **cost** of an element, 1 for an addition. The others are "
         "compositions of these: they have the dtypes, gradients and rules of what they are made "
         "of, and cost that.\n";
  std::vector<std::filesystem::path> headers;
  const std::string folder = places::source_dir() + "/compiler/include/kroton";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    headers.push_back(entry.path());
  }
  std::sort(headers.begin(), headers.end());
  // The one of most first.
  std::stable_partition(headers.begin(), headers.end(),
                        [](const auto& path) { return path.filename() == "ops.h"; });
  for (const std::filesystem::path& header : headers) {
    const std::string name = header.filename().string();
    if (name == "tensor.h" || name == "type.h" || name == "dim.h" || name == "variables.h")
      continue;
    print_header(out, header, records, known);
  }
  out << "\n## Records\n\nWhat the compiler works with: every op, as it stands in graphs and "
         "dumps.\n\n| op | meaning | dtypes | gradient | rows | cost "
         "|\n|---|---|---|---|---|---|\n";
  for (const auto& [name, op] : records) {
    const auto meaning = known.find(name);
    out << "| `" << name << "` | " << (meaning == known.end() ? "" : cell(meaning->second)) << " | "
        << dtypes_of(*op) << " | " << yes(has_gradient(*op)) << " | " << yes(has_rows(*op)) << " | "
        << op->cost << " |\n";
  }
  return out.str();
}
