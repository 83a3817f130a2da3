// What rewriting passes are written with: patterns of expressions, rules, and the loop that applies
// rules until none does.
#pragma once
#include <array>
#include <string>

#include "compiler/ir/graph.h"

namespace kroton {

using Vertex = Graph::Vertex;

// ---- Constants in a graph

// The literal that all elements of a vertex are: the vertex itself or the source of a broadcast.
std::optional<Vertex> uniform_literal(const Graph& graph, Vertex v);
// Its value; booleans are 0 and 1.
std::optional<double> uniform_value(const Graph& graph, Vertex v);
// A scalar repeated to a shape; the scalar itself for rank 0.
Vertex add_repeated(Graph& graph, Vertex scalar, Dims dims, SourceLine line);

// ---- Patterns

// The shape of an expression: `number(1) / (number(1) + exp(term(0)))`. A commutative op matches
// with its operands in either order.
class Pattern {
 public:
  enum class Kind : std::uint8_t { any, literal, number, op };

  Kind kind = Kind::any;
  int slot = 0;             // any, literal
  double value = 0;         // number
  bool single_use = false;  // op: only one operand position uses it
  const OpRecord* op = nullptr;
  std::vector<Pattern> operands = {};
};

Pattern term(int slot);        // any vertex; the same one wherever the slot appears
Pattern literal(int slot);     // a uniform constant; its value is kept
Pattern number(double value);  // a uniform constant of that value
Pattern call(std::string_view op, std::vector<Pattern> operands);
// The pattern, if nothing else uses what it matches.
Pattern once(Pattern pattern);

Pattern operator+(Pattern x, Pattern y);
Pattern operator-(Pattern x, Pattern y);
Pattern operator*(Pattern x, Pattern y);
Pattern operator/(Pattern x, Pattern y);
Pattern operator-(Pattern x);
Pattern exp(Pattern x);
Pattern log(Pattern x);

// What the slots of a pattern matched.
class Match {
 public:
  static constexpr int slots = 4;

  // Whether the pattern describes the vertex; if so the slots are set.
  bool matches(const Graph& graph, const Pattern& pattern, Vertex v);

  Vertex vertex(int slot) const { return vertices_[static_cast<std::size_t>(slot)].value(); }
  const TensorType& type(int slot) const { return (*graph_)[vertex(slot)].type; }
  bool is_float(int slot) const { return kroton::is_float(type(slot).dtype); }
  double value(int slot) const { return values_[static_cast<std::size_t>(slot)]; }
  // The tensor to write the replacement with; only while a replacement is built.
  const Tensor& operator[](int slot) const { return tensors_[static_cast<std::size_t>(slot)]; }

  // The vertex of what `write` makes of the matched tensors.
  Vertex build(Graph& graph, SourceLine line, Tensor (*write)(const Match&));

 private:
  bool match(const Pattern& pattern, Vertex v);
  bool match_operands(const Pattern& pattern, const std::vector<Vertex>& operands, bool swapped);

  const Graph* graph_ = nullptr;
  std::array<std::optional<Vertex>, slots> vertices_;
  std::array<double, slots> values_{};
  std::array<Tensor, slots> tensors_;
};

// ---- Rules

// A rewrite of vertices of one op: gives the vertex that takes the place of `v`, or nothing. It
// builds new vertices only if it applies.
struct Rule {
  std::string_view op;
  std::function<std::optional<Vertex>(Graph& graph, Vertex v)> apply;
};

// `from` becomes what `to` writes, if `when` holds.
Rule algebra(Pattern from, Tensor (*to)(const Match&), bool (*when)(const Match&) = nullptr);

// Applies the rules, earlier ones first, until none applies any more; whether one did. Every
// rewrite must lead towards a normal form: InternalError naming `pass` if they do not come to an
// end.
bool rewrite(Graph& graph, std::string_view pass, std::span<const Rule> rules);

// The rules of canonicalize, for passes whose patterns are written on normal forms: those of
// canonicalize.cpp, then those of the files below.
std::span<const Rule> canonical_rules();
// canonicalize_views.cpp: broadcast, reshape, transpose, slice.
std::vector<Rule> view_rules();
// canonicalize_products.cpp: dot of views, and views of it.
std::vector<Rule> product_rules();
// canonicalize_reductions.cpp
std::vector<Rule> reduction_rules();
// canonicalize_means.cpp: sums of distances from a mean.
std::vector<Rule> mean_rules();
// canonicalize_joins.cpp: sums of parts of one tensor.
std::vector<Rule> join_rules();
// Of convolutions, of what is put around pictures.
std::vector<Rule> window_rules();

}  // namespace kroton
