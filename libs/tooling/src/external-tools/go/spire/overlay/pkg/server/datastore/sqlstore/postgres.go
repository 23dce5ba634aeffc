// What it held is in mysql.go.
package sqlstore
