// Networks from layers. Everything here is written on tensors, shared variables and scans as a
// program of one's own would be; at any point a layer can be replaced by a function of tensors.
//
//     kt::nn::Sequential net{kt::nn::Conv2D(20, 5, {.activation = kt::nn::relu}),
//     kt::nn::MaxPool(2),
//                            kt::nn::Flatten(), kt::nn::Dense(100, {.activation = kt::nn::relu}),
//                            kt::nn::Dropout(0.5), kt::nn::Dense(10)};
//     const kt::Tensor loss = kt::nn::cross_entropy(net.train(x), labels);
//     const auto step = kt::function({x, labels}, loss,
//                                    {.updates = sgd.minimize(loss, net.parameters())});
//     const auto predict = kt::function({x}, net(x));
//
// A layer makes its parameters when it is first called, from the shape of what it is called on. A
// layer of one's own is anything that can be called with a Tensor and gives one: a lambda, or a
// struct with a call operator, whose members are layers. Copies of a layer share its parameters.
//
// Errors of layers begin with the layer's name and end with the line where it was made; those of
// losses and metrics end with the line where they were called.
#pragma once
#include <kroton/nn_attention.h>
#include <kroton/nn_blocks.h>
#include <kroton/nn_convolution.h>
#include <kroton/nn_layers.h>
#include <kroton/nn_losses.h>
#include <kroton/nn_metrics.h>
#include <kroton/nn_network.h>
#include <kroton/nn_normalization.h>
#include <kroton/nn_parameters.h>
#include <kroton/nn_rbm.h>
#include <kroton/nn_recurrent.h>
#include <kroton/nn_sequence_losses.h>
