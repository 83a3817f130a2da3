#include <doctest/doctest.h>
#include <kroton/error.h>

#include "compiler/ir/graph_storage.h"
#include "compiler/ir/leaf.h"
#include "compiler/passes/passes.h"
#include "tests/tools/error_text.h"
#include "tests/tools/graph_helpers.h"

using namespace kroton;  // NOLINT
using graph_test::graph_of;
using graph_test::text;
using Vertex = Graph::Vertex;

using error_text::contains;

namespace {

// A vertex's data, to break them.
VertexData& data_of(Graph& graph, Vertex v) {
  return const_cast<Graph::Storage&>(graph.storage())[v];
}

template <class F>
std::string message_of(const F& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("graph: without unification the expressions come back as the user's own nodes") {
  const Tensor x = matrix("x");
  const Tensor y = vector("y");
  const Shared w = shared(Array::normal({3, 1}, 1), "w");
  const Tensor c = make_constant(Array::from({1.0F, 2.0F, 3.0F}), {});
  const Tensor a = sum(dot(x, w), 1) + y * 2;
  const Tensor b = exp(a) * sum(c);
  const std::vector<Tensor> outputs{a, b, x, Tensor(w)};
  const std::vector<Tensor> inputs{x, y};
  const Graph graph(inputs, outputs, {}, false);
  const std::vector<Tensor> exported = graph.export_expressions(graph.outputs);
  REQUIRE(exported.size() == 4);
  for (std::size_t k = 0; k < exported.size(); ++k) CHECK(same(exported[k], outputs[k]));
  verify(graph);
}

TEST_CASE("graph: a long chain is imported, ordered, printed and exported without recursion") {
  Tensor x = vector("x");
  const Tensor input = x;
  for (int k = 0; k < 100000; ++k) x = k % 2 == 0 ? exp(x) : x + input;
  Graph graph = graph_of({x});
  CHECK(graph.size() == 100001);
  CHECK(graph.topological_order().size() == 100001);
  CHECK(same(graph.export_expressions(graph.outputs)[0], x));
  CHECK(contains(to_string(graph), "%100000 = add(%99999, %0) : f32 (x.shape[0],)"));
  CHECK(graph.remove_dead() == 0);
}

TEST_CASE("graph: sizes that must be equal become one") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  const Tensor z = vector("z");

  SUBCASE("a free size takes another's place, the older one stays") {
    const Graph graph = graph_of({exp(y + x) * z});
    for (const Vertex v : graph.topological_order()) {
      CHECK(graph[v].type.shape == Dims{x.shape(0)});
    }
    CHECK(graph.unified(z.shape(0) + 1) == x.shape(0) + 1);
    CHECK(graph.constraints.size() == 2);
    CHECK(contains(graph.constraints[0].message, "add: sizes differ"));
  }
  SUBCASE("a constant wins, also over what was unified before it") {
    const Tensor c = make_constant(Array::from({1.0F, 2.0F, 3.0F}), {});
    const Tensor sizes = size_of_dim(x.shape(0));
    const Graph graph = graph_of({exp(x + y) + (y + z) * c, sizes});
    CHECK(graph[graph.outputs[0]].type.shape == Dims{3});
    for (const Vertex input : graph.inputs) CHECK(graph[input].type.shape == Dims{3});
    CHECK(graph[graph.outputs[1]].attributes.dims == Dims{3});
    verify(graph);
    // The user's own variables keep their types.
    CHECK(graph.input_tensors[0].shape() != Dims{3});
  }
  SUBCASE("a size that is a sum of sizes") {
    const Graph graph = graph_of({z + concatenate({x, y})});
    const Dims both{x.shape(0) + y.shape(0)};
    CHECK(graph[graph.outputs[0]].type.shape == both);
    CHECK(graph.unified(z.shape(0)) == both[0]);
  }
  SUBCASE("an equality of sums is a constraint only") {
    const Graph graph = graph_of({concatenate({x, x}) + concatenate({y, z})});
    CHECK(graph.unified(x.shape(0)) == x.shape(0));
    CHECK(graph.unified(y.shape(0)) == y.shape(0));
    CHECK(graph.constraints.size() == 1);
  }
  SUBCASE("two constants cannot be equal") {
    const Tensor three = tensor("three", {3});
    const Tensor five = tensor("five", {5});
    const Tensor a = x + three;
    const Tensor b = x + five;
    const std::string message = message_of([&] { graph_of({a, b}); });
    CHECK(contains(message, "add: sizes differ"));
    CHECK(contains(message, "5"));
    CHECK(contains(message, "3"));
    CHECK_THROWS_AS(graph_of({a, b}), ShapeError);
    CHECK_NOTHROW(graph_of({a, b}, false));
  }
}

TEST_CASE("graph: an update has its variable's type") {
  const Shared w = shared(Array::zeros({3}), "w");
  const Tensor x = vector("x");
  using Updates = std::vector<std::pair<Shared, Tensor>>;
  const std::vector<Tensor> inputs{x};

  const Graph graph(inputs, {}, Updates{{w, exp(x)}});
  CHECK(graph[graph.updates.at(0).value].type.shape == Dims{3});
  CHECK(graph[graph.inputs[0]].type.shape == Dims{3});
  CHECK(graph.updates[0].state == w.state());
  CHECK(contains(to_string(graph), "update: w <- %1\n"));

  CHECK_THROWS_AS(Graph(inputs, {}, Updates{{w, cast(x, f64)}}), TypeError);
  CHECK_THROWS_AS(Graph(inputs, {}, Updates{{w, sum(x)}}), ShapeError);
  const Tensor five = tensor("five", {5});
  const std::string message = message_of([&] { Graph({}, {}, Updates{{w, five}}); });
  CHECK(contains(message, "update of w: axis 0 must be 3, is 5"));
}

TEST_CASE("graph: replace, dead vertices and their removal") {
  const Tensor x = vector("x");
  const Tensor unused = vector("unused");
  const Tensor e = exp(x);
  const Tensor t = tanh(sin(x));
  const std::vector<Tensor> inputs{x, unused};
  const std::vector<Tensor> outputs{e + t, t};
  Graph graph(inputs, outputs, {});
  const Vertex sum = graph.outputs[0];
  const Vertex tanh = graph.outputs[1];
  const Vertex sine = graph.operand(tanh, 0);
  CHECK(graph.use_count(tanh) == 2);
  CHECK(graph.users(sine) == std::vector<Vertex>{tanh});

  graph.replace(tanh, graph.operand(sum, 0));
  CHECK(text(graph, 0) == "add(exp(x), exp(x))");
  CHECK(text(graph, 1) == "exp(x)");
  CHECK(graph.is_dead(tanh));
  CHECK(graph.is_dead(sine));
  CHECK(graph.use_count(graph.operand(sum, 0)) == 3);
  CHECK(graph.users(graph.inputs[0]).size() == 1);

  CHECK(graph.remove_dead() == 2);
  CHECK(graph.size() == 4);
  CHECK(graph.inputs == std::vector<Vertex>{0, 1});
  CHECK(graph[1].attributes.name == "unused");
  CHECK(text(graph, 0) == "add(exp(x), exp(x))");
  CHECK(graph.remove_dead() == 0);
  verify(graph);

  const Vertex scalar =
      graph.build({0}, {}, [](std::span<const Tensor> v) { return kroton::sum(v[0]); });
  CHECK_THROWS_AS(graph.replace(graph.outputs[0], scalar), InternalError);
}

TEST_CASE("graph: build writes an expression on vertices") {
  const Tensor x = vector("x");
  const Tensor y = vector("y");
  Graph graph = graph_of({x * y});
  const Vertex product = graph.outputs[0];
  const SourceLine line{"model.cpp", 17};
  const Vertex built =
      graph.build({product, graph.inputs[1]}, line, [](std::span<const Tensor> operands) {
        return exp(operands[0]) - operands[1] * operands[0];
      });
  graph.replace(product, graph.inputs[0]);  // after which the product stays, as an operand
  CHECK(graph.operand(graph.operand(built, 0), 0) == graph.inputs[0]);
  CHECK(graph[built].line.line == 17);
  CHECK(graph[built].type == graph[product].type);
  graph.outputs = {built};
  CHECK(text(graph) == "sub(exp(x), mul(y, x))");
  verify(graph);
}

TEST_CASE("graph: the printer") {
  const LineScope scope({"dir/model.cpp", 7});
  const Tensor x = tensor("x", {dim("n"), 3});
  const Tensor y = tensor("y", {dim("n")});
  const Shared w = shared(Array::zeros({3}), "w");
  const Tensor loss = sum(x * w, 1) - y;
  const std::vector<Tensor> inputs{x, y};
  const std::vector<Tensor> outputs{loss, x};
  using Updates = std::vector<std::pair<Shared, Tensor>>;
  const Graph graph(inputs, outputs, Updates{{w, w * 0.5}});
  CHECK(to_string(graph) ==
        "inputs: %0 x, %1 y\n"
        "%0 = input() {name=x dims=(n, 3)} : f32 (n, 3)  [model.cpp:7]\n"
        "%2 = shared() {name=w dims=(3,)} : f32 (3,)  [model.cpp:7]\n"
        "%3 = broadcast(%2) {axes=[1] dims=(n, 3)} : f32 (n, 3)  [model.cpp:7]\n"
        "%4 = mul(%0, %3) : f32 (n, 3)  [model.cpp:7]\n"
        "%5 = sum(%4) {axes=[1]} : f32 (n,)  [model.cpp:7]\n"
        "%1 = input() {name=y dims=(n,)} : f32 (n,)  [model.cpp:7]\n"
        "%6 = sub(%5, %1) : f32 (n,)  [model.cpp:7]\n"
        "%7 = literal(0.5) : f32 ()  [model.cpp:7]\n"
        "%8 = broadcast(%7) {dims=(3,)} : f32 (3,)  [model.cpp:7]\n"
        "%9 = mul(%2, %8) : f32 (3,)  [model.cpp:7]\n"
        "outputs: %6, %0\n"
        "update: w <- %9\n");
}

TEST_CASE("graph: the verifier finds") {
  const Tensor x = vector("x");
  Graph graph = graph_of({exp(x) + x});
  const Vertex sum = graph.outputs[0];
  const Vertex exponential = graph.operand(sum, 0);
  auto& storage = const_cast<Graph::Storage&>(graph.storage());
  CHECK_NOTHROW(verify(graph));
  std::string expected;

  SUBCASE("a wrong type") {
    data_of(graph, exponential).type.dtype = DType::f64;
    expected = "%1 (exp) is f64 (x.shape[0],), its rule gives f32 (x.shape[0],)";
  }
  SUBCASE("operands without a type") {
    data_of(graph, graph.inputs[0]).type.dtype = DType::i32;
    data_of(graph, graph.inputs[0]).attributes.dtype = DType::i32;
    expected = "%1 (exp) has no type";
  }
  SUBCASE("too few operands") {
    boost::remove_edge(exponential, sum, storage);
    expected = "%2 (add) has 1 operands, expected 2";
  }
  SUBCASE("two operands in one place") {
    for (auto [edge, last] = boost::in_edges(sum, storage); edge != last; ++edge) {
      storage[*edge].position = 1;
    }
    expected = "%2 (add) has no or two operands at position 1";
  }
  SUBCASE("a cycle") {
    boost::clear_in_edges(exponential, storage);
    boost::add_edge(sum, exponential, EdgeData{0}, storage);
    expected = "cycle";
  }
  SUBCASE("an output that is no vertex") {
    graph.outputs.push_back(99);
    expected = "no vertex %99";
    CHECK_THROWS_AS(verify(graph), InternalError);
    CHECK(contains(message_of([&] { verify(graph); }), expected));
    return;
  }
  const std::string message = message_of([&] { verify(graph); });
  CHECK_THROWS_AS(verify(graph), InternalError);
  CHECK(contains(message, expected));
  CHECK(contains(message, "inputs: %0 x\n"));
}
