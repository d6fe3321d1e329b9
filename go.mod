module must

go 1.26
