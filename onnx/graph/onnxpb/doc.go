// Package onnxpb is the format of ONNX files, generated from onnx.proto of onnx 1.23.2 (Apache-2.0):
//
//	protoc --go_out=. --go_opt=paths=source_relative --go_opt=Monnx.proto=must/onnx/graph/onnxpb onnx.proto
//
// with libprotoc of grpcio-tools 1.85.1 and protoc-gen-go 1.36.12.
package onnxpb
